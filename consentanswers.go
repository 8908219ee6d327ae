package truelayer

import (
	"net/mail"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/banks"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// answers are what TrueLayer has to know beside the consent: who the visitor is, and what
// the bank asks for. What the site does not know, the page asks for.
type answers struct {
	user   tlapi.User
	inputs []tlapi.Input
	known  []string      // what the page says of the visitor
	fields []pages.Field // what it asks for
}

// userPlaceholders say who a visitor is; "" stands for what the page has to ask for.
type userPlaceholders struct{ name, email string }

// answersOf returns what is known and what was sent. The form is nil if none was sent.
func (u userPlaceholders) answersOf(replacer *caddy.Replacer, bank *banks.Bank, form url.Values) (a answers) {
	a.user.Name = a.find(replacer, u.name, vouch.IsName, form, pages.Field{
		Name: "name", Key: "field_name", Type: "text", Autocomplete: "name", Autocapitalize: "words", Required: true,
	}, "problem_name")
	a.user.Email = a.find(replacer, u.email, isUserEmail, form, pages.Field{
		Name: "email", Key: "field_email", Type: "email", Autocomplete: "email", Autocapitalize: "none", Required: true,
	}, "problem_email")
	for _, step := range bank.Steps {
		field := pages.Field{Name: "step:" + step.ID, Label: step.Name, Help: step.Help, Required: step.Mandatory}
		for _, option := range step.Options {
			field.Options = append(field.Options, pages.Option(option))
		}
		value := a.ask(form, field, func(value string) bool {
			return value == "" && !step.Mandatory || slices.ContainsFunc(step.Options, func(o banks.Option) bool { return o.Value == value })
		}, "problem_choice")
		if value != "" {
			a.inputs = append(a.inputs, tlapi.Input{StepID: step.ID, Value: value})
		}
	}
	return a
}

// find returns what a placeholder says of the visitor, or else what was sent.
func (a *answers) find(replacer *caddy.Replacer, placeholder string, valid func(string) bool, form url.Values, field pages.Field, problem string) string {
	if replacer != nil && placeholder != "" {
		if value := strings.TrimSpace(replacer.ReplaceAll(placeholder, "")); valid(value) {
			a.known = append(a.known, value)
			return value
		}
	}
	return a.ask(form, field, valid, problem)
}

// ask adds a field, and returns what was sent in it. The problem is the name of the text that
// is shown if what was sent is not valid.
func (a *answers) ask(form url.Values, field pages.Field, valid func(string) bool, problem string) string {
	if form != nil {
		field.Value = strings.TrimSpace(form.Get(field.Name))
		if !valid(field.Value) {
			field.Problem = problem
			field.Value = sanitize(field.Value)
		}
	}
	a.fields = append(a.fields, field)
	return field.Value
}

// maxUserEmail is as on the page; RFC 5321 section 4.5.3.1.3, without the brackets.
const maxUserEmail = 254

// isUserEmail reports whether a text is an e-mail address and nothing else.
func isUserEmail(s string) bool {
	address, err := mail.ParseAddress(s)
	return err == nil && address.Address == s && len(s) <= maxUserEmail && vouch.IsName(s)
}

// areComplete reports whether nothing is wrong with what was sent.
func (a *answers) areComplete() bool {
	return !slices.ContainsFunc(a.fields, func(f pages.Field) bool { return f.Problem != "" })
}
