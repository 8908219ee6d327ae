package block

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// one reads an option's only argument. Its error, unlike the dispenser's own, does
// not repeat the argument: it may be a secret.
func one(d *caddyfile.Dispenser) (string, error) {
	name, text := d.Val(), ""
	if d.CountRemainingArgs() == 0 {
		return "", argumentsError(name + " takes one argument and has none: if it is an environment variable, {$NAME}, that is not set")
	}
	if !d.AllArgs(&text) || text == "" {
		return "", argumentsError(name + " takes one argument; quote it if it has spaces")
	}
	return text, nil
}

type word struct {
	field    *string
	fallback string
}

// Word is one argument. fallback is the default.
func Word(field *string, fallback string) Value { return word{field, fallback} }

func (v word) read(d *caddyfile.Dispenser) (err error) {
	*v.field, err = one(d)
	return err
}

func (v word) setDefault() {
	if *v.field == "" {
		*v.field = v.fallback
	}
}

func (v word) isSet() bool        { return *v.field != "" }
func (v word) check(string) error { return nil }

type secret struct{ field **string }

// Secret is one argument behind a pointer, so that nothing prints it.
func Secret(field **string) Value { return secret{field} }

func (v secret) read(d *caddyfile.Dispenser) error {
	text, err := one(d)
	*v.field = &text
	return err
}

func (v secret) setDefault()        {}
func (v secret) isSet() bool        { return *v.field != nil }
func (v secret) check(string) error { return nil }

type words struct{ field, fallback *[]string }

// Words is one argument or more.
func Words(field *[]string, fallback ...string) Value { return words{field, &fallback} }

func (v words) read(d *caddyfile.Dispenser) error {
	name := d.Val()
	if *v.field = d.RemainingArgs(); len(*v.field) == 0 {
		return argumentsError(name + " takes one argument or more")
	}
	return nil
}

func (v words) setDefault() {
	if len(*v.field) == 0 {
		*v.field = *v.fallback
	}
}

func (v words) isSet() bool        { return len(*v.field) > 0 }
func (v words) check(string) error { return nil }

type choices struct {
	words
	all []string
}

// Choices is one argument or more, each one of all. Default: none.
func Choices(field *[]string, all ...string) Value {
	return choices{words{field, new([]string)}, all}
}

func (v choices) check(name string) error {
	for i, choice := range *v.field {
		if !slices.Contains(v.all, choice) {
			return fmt.Errorf("%s %q is unknown: use %s", name, choice, strings.Join(v.all, ", "))
		}
		if slices.Contains((*v.field)[:i], choice) {
			return fmt.Errorf("%s: %q is given twice: keep one", name, choice)
		}
	}
	return nil
}

type flag struct{ field *bool }

// Flag is an option without arguments, which is on when it is there.
func Flag(field *bool) Value { return flag{field} }

func (v flag) read(d *caddyfile.Dispenser) error {
	name := d.Val()
	*v.field = true
	if d.NextArg() {
		return argumentsError(name + " takes no argument: it is on when it is there")
	}
	return nil
}

func (v flag) setDefault()        {}
func (v flag) isSet() bool        { return *v.field }
func (v flag) check(string) error { return nil }

type duration struct {
	field    *caddy.Duration
	fallback time.Duration
}

// Duration is a positive duration. fallback is the default; 0 leaves it at 0.
func Duration(field *caddy.Duration, fallback time.Duration) Value { return duration{field, fallback} }

func (v duration) read(d *caddyfile.Dispenser) (err error) {
	*v.field, err = oneDuration(d, "30m, 8h or 7d")
	return err
}

func oneDuration(d *caddyfile.Dispenser, examples string) (caddy.Duration, error) {
	name := d.Val()
	text, err := one(d)
	if err != nil {
		return 0, err
	}
	parsed, err := caddy.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s %q is not a duration such as %s", name, text, examples)
	}
	return caddy.Duration(parsed), nil
}

func (v duration) setDefault() {
	if *v.field == 0 {
		*v.field = caddy.Duration(v.fallback)
	}
}

func (v duration) isSet() bool { return *v.field != 0 }

// maxDuration is longer than anybody needs; beyond it arithmetic overflows.
const maxDuration = 10 * 365 * 24 * time.Hour

func (v duration) check(name string) error {
	switch d := time.Duration(*v.field); {
	case d <= 0:
		return fmt.Errorf("%s has to be positive, such as 8h", name)
	case d > maxDuration:
		return fmt.Errorf("%s must not be longer than ten years", name)
	}
	return nil
}

type durationOrZero struct {
	field    **caddy.Duration
	fallback time.Duration
}

// DurationOrZero is a duration for which 0 is something else than the default.
func DurationOrZero(field **caddy.Duration, fallback time.Duration) Value {
	return durationOrZero{field, fallback}
}

func (v durationOrZero) read(d *caddyfile.Dispenser) error {
	parsed, err := oneDuration(d, "2s, or 0")
	*v.field = &parsed
	return err
}

func (v durationOrZero) setDefault() {
	if *v.field == nil {
		*v.field = new(caddy.Duration(v.fallback))
	}
}

func (v durationOrZero) isSet() bool        { return *v.field != nil }
func (v durationOrZero) check(string) error { return nil }

type number struct {
	field           *int
	least, fallback int
}

// Number is a whole number of least or more. 0 in JSON is the default.
func Number(field *int, least, fallback int) Value { return number{field, least, fallback} }

func (v number) read(d *caddyfile.Dispenser) error {
	name := d.Val()
	text, err := one(d)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < v.least {
		return fmt.Errorf("%s %q is not a number of %d or more", name, text, v.least)
	}
	*v.field = n
	return nil
}

func (v number) setDefault() {
	if *v.field == 0 {
		*v.field = v.fallback
	}
}

func (v number) isSet() bool { return *v.field != 0 }

func (v number) check(name string) error {
	if *v.field < v.least {
		return fmt.Errorf("%s %d is not a number of %d or more", name, *v.field, v.least)
	}
	return nil
}

type size struct {
	field          **int
	most, fallback int
}

// Size is a number of bytes, written with a unit, or 0. It is at most most.
func Size(field **int, most, fallback int) Value { return size{field, most, fallback} }

func (v size) read(d *caddyfile.Dispenser) error {
	name := d.Val()
	text, err := one(d)
	if err != nil {
		return err
	}
	bytes, err := humanize.ParseBytes(text)
	if err != nil || bytes > uint64(v.most) { //nolint:gosec // positive
		return fmt.Errorf("%s %q is not a size such as 64MiB, or 0", name, text)
	}
	*v.field = new(int(bytes)) //nolint:gosec // no more than most
	return nil
}

func (v size) setDefault() {
	if *v.field == nil {
		*v.field = new(v.fallback)
	}
}

func (v size) isSet() bool { return *v.field != nil }

func (v size) check(name string) error {
	if size := **v.field; size < 0 || size > v.most {
		return fmt.Errorf("%s %d is not between 0 and %d bytes", name, size, v.most)
	}
	return nil
}

// Arguments are arguments that no other kind fits.
type Arguments struct {
	// Read is given all of them.
	Read func(args []string) error
	// IsSet reports whether the field has a value, and SetDefault, which may be nil,
	// fills it in.
	IsSet      func() bool
	SetDefault func()
}

func (v Arguments) read(d *caddyfile.Dispenser) error { return v.Read(d.RemainingArgs()) }

func (v Arguments) setDefault() {
	if v.SetDefault != nil && !v.IsSet() {
		v.SetDefault()
	}
}

func (v Arguments) isSet() bool        { return v.IsSet() }
func (v Arguments) check(string) error { return nil }
