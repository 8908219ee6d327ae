// Package block reads the options in a block of a Caddyfile by a table, and checks
// those of a JSON configuration by the same table.
package block

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Option is a row of the table.
type Option struct {
	// Name is the option's name, in Caddyfiles and in JSON.
	Name string
	// Syntax is how its arguments are written, "<duration>" for example.
	Syntax string
	// Value says what kind of arguments it has, and holds its field and its default.
	Value Value
	// Check checks the field. Its error names the option and says what to do.
	// Default: the kind's own check is enough.
	Check func() error
	// Required says that a Caddyfile must have the option.
	Required bool
	// Repeats says that a Caddyfile may have it more than once.
	Repeats bool
}

// Value is a kind of arguments with the field that they are written to.
type Value interface {
	// read reads the option's arguments into the field. d stands on the name.
	read(d *caddyfile.Dispenser) error
	// setDefault fills the field in if the configuration has left it out.
	setDefault()
	// isSet reports whether the field has a value.
	isSet() bool
	// check checks the field as far as the kind goes.
	check(name string) error
}

// Options is a table, in the order of the documentation.
type Options []Option

// Read reads a block. d stands before it; name is what errors call it.
func (o Options) Read(d *caddyfile.Dispenser, name string) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		i := slices.IndexFunc(o, func(option Option) bool { return option.Name == d.Val() })
		if i < 0 {
			return located{d.Errf("unknown option %q: %s has %s", d.Val(), name, strings.Join(o.names(), ", "))}
		}
		option := o[i]
		if seen[option.Name] && !option.Repeats {
			return located{d.Errf("%s is given twice: keep one", option.Name)}
		}
		seen[option.Name] = true
		if err := option.read(d); err != nil {
			return err
		}
	}
	for _, option := range o {
		if option.Required && !seen[option.Name] {
			return located{d.Errf("%s is missing: %s needs %s", option.Name, name, o.required())}
		}
	}
	return nil
}

// read reads and checks one option. Its error says where it stands, once.
func (o *Option) read(d *caddyfile.Dispenser) error {
	err := o.Value.read(d)
	if wrong, ok := errors.AsType[argumentsError](err); ok {
		err = fmt.Errorf("%w: write %s", wrong, strings.TrimSpace(o.Name+" "+o.Syntax))
	}
	if err == nil {
		err = o.check()
	}
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[located](err); ok || strings.Contains(err.Error(), d.File()+":") {
		return located{err}
	}
	return located{d.WrapErr(err)}
}

// argumentsError says that an option has too few arguments, or too many.
type argumentsError string

func (e argumentsError) Error() string { return string(e) }

// located is an error that has a file and a line.
type located struct{ error }

// SetDefaults fills in what the configuration has left out.
func (o Options) SetDefaults() {
	for _, option := range o {
		option.Value.setDefault()
	}
}

// Check checks what the configuration has set.
func (o Options) Check() error {
	var failed error
	for _, option := range o {
		if option.Value.isSet() {
			failed = errors.Join(failed, option.check())
		}
	}
	return failed
}

func (o *Option) check() error {
	if o.Check != nil {
		if err := o.Check(); err != nil {
			return err
		}
	}
	return o.Value.check(o.Name)
}

// names are the names of all options, sorted.
func (o Options) names() []string {
	names := make([]string, 0, len(o))
	for _, option := range o {
		names = append(names, option.Name)
	}
	slices.Sort(names)
	return names
}

// required lists the required options in a sentence.
func (o Options) required() string {
	var names []string
	for _, option := range o {
		if option.Required {
			names = append(names, option.Name)
		}
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// Syntax is the block's lines as the documentation has them, each behind indent.
func (o Options) Syntax(indent string) string {
	width := 0
	for _, option := range o {
		width = max(width, len(option.Name))
	}
	var b strings.Builder
	for _, option := range o {
		nested, isBlock := option.Value.(interface{ syntax(indent string) string })
		switch {
		case isBlock:
			line := strings.TrimSpace(option.Name + " " + option.Syntax)
			fmt.Fprintf(&b, "%s%s {\n%s%s}\n", indent, line, nested.syntax(indent+"\t"), indent)
		case option.Syntax == "":
			b.WriteString(indent + option.Name + "\n")
		default:
			fmt.Fprintf(&b, "%s%-*s %s\n", indent, width, option.Name, option.Syntax)
		}
	}
	return b.String()
}
