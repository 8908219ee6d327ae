package block

import (
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Module is the name of another module, whose own arguments and block follow.
type Module struct {
	Field *json.RawMessage
	// Namespace is the one of the modules, and Key where the name stands in JSON.
	Namespace, Key string
	// What the modules are, and an Example of their names.
	What, Example string
	// Fallback is the name of the default, "" for none.
	Fallback string
	// Remedies say for some names what to do if a build does not have the module.
	Remedies map[string]string
}

func (v Module) read(d *caddyfile.Dispenser) error {
	if option := d.Val(); !d.NextArg() {
		return fmt.Errorf("%s takes the name of a %s, for example %s", option, v.What, v.Example)
	}
	name := d.Val()
	if err := v.find(name); err != nil {
		return err
	}
	module, err := caddyfile.UnmarshalModule(d, v.Namespace+"."+name)
	if err != nil {
		return err
	}
	*v.Field = caddyconfig.JSONModuleObject(module, v.Key, name, nil)
	return nil
}

// find reports a module that this build does not have.
func (v Module) find(name string) error {
	if _, err := caddy.GetModule(v.Namespace + "." + name); err == nil {
		return nil
	}
	has := ""
	for _, module := range caddy.GetModules(v.Namespace) {
		has += ", " + module.ID.Name()
	}
	if has != "" {
		has = "; this build has " + has[2:]
	}
	remedy := v.Remedies[name]
	if remedy == "" {
		remedy = "check its name, or build Caddy with its package"
	}
	return fmt.Errorf("module not registered: %s.%s%s: %s", v.Namespace, name, has, remedy)
}

func (v Module) setDefault() {
	if v.Fallback != "" && *v.Field == nil {
		*v.Field = json.RawMessage(fmt.Sprintf(`{%q: %q}`, v.Key, v.Fallback))
	}
}

func (v Module) isSet() bool        { return *v.Field != nil }
func (v Module) check(string) error { return nil }

type sub[T any] struct {
	field   **T
	options func(*T) Options
	first   func(*T) Value
}

// Sub is a block inside the block. Its options are those of the structure that the
// field points to, which is nil without the option.
func Sub[T any](field **T, options func(*T) Options) Value { return sub[T]{field, options, nil} }

// SubWith is Sub with an argument before the block.
func SubWith[T any](field **T, first func(*T) Value, options func(*T) Options) Value {
	return sub[T]{field, options, first}
}

func (v sub[T]) read(d *caddyfile.Dispenser) error {
	name := d.Val()
	*v.field = new(T)
	switch {
	case v.first != nil:
		if err := v.first(*v.field).read(d); err != nil {
			return err
		}
	case d.NextArg():
		return fmt.Errorf("%s takes a block, or nothing", name)
	}
	return v.options(*v.field).Read(d, name)
}

func (v sub[T]) setDefault() {
	if *v.field != nil {
		v.options(*v.field).SetDefaults()
	}
}

func (v sub[T]) isSet() bool { return *v.field != nil }

func (v sub[T]) check(string) error { return v.options(*v.field).Check() }

func (v sub[T]) syntax(indent string) string { return v.options(new(T)).Syntax(indent) }
