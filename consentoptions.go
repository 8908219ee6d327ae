package truelayer

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
)

// Consent is the site's own page on which visitors consent to what is shared.
type Consent struct {
	// Who gets the data: the name of a company, as visitors know it, of at most 100
	// characters and without placeholders. Required.
	Controller string `json:"controller,omitempty"`

	// What the data are used for, in a sentence or more of at most 1000 characters and
	// without placeholders. Visitors read it as it is. Required.
	Purpose string `json:"purpose,omitempty"`

	// The absolute URL of the terms that hold for the data. Required; plain http only for
	// a loopback host.
	TermsURL string `json:"terms_url,omitempty"`

	// Who the visitor is, which TrueLayer wants to know, by placeholders that earlier
	// handlers set. What is missing, the page asks for. Default: the page asks for both.
	User ConsentUser `json:"user,omitzero"`

	// Lead visitors to TrueLayer's dialog if TrueLayer gives no link to the bank. They
	// consent there once more. Default: off, they are told to try again.
	FallbackDialog bool `json:"fallback_dialog,omitempty"`
}

// ConsentUser is who a visitor is, by placeholders that earlier handlers have set, such as
// `{http.auth.user.id}`.
type ConsentUser struct {
	// The full name. Accepts placeholders.
	Name string `json:"name,omitempty"`

	// The e-mail address. Accepts placeholders.
	Email string `json:"email,omitempty"`
}

// options is the table of the block's options.
func (c *Consent) options() block.Options {
	return block.Options{
		{Name: "controller", Syntax: "<name>", Value: block.Word(&c.Controller, ""), Required: true},
		{Name: "purpose", Syntax: "<text>", Value: block.Word(&c.Purpose, ""), Required: true},
		{Name: "terms_url", Syntax: "<absolute URL>", Value: block.Word(&c.TermsURL, ""), Required: true},
		{Name: "user", Syntax: "<name> [<email>]", Value: c.userArguments()},
		{Name: "fallback_dialog", Value: block.Flag(&c.FallbackDialog)},
	}
}

func (c *Consent) userArguments() block.Value {
	return block.Arguments{
		IsSet: func() bool { return c.User != ConsentUser{} },
		Read: func(args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return errors.New("user takes a placeholder with the visitor's name and, if there is one, another with the e-mail address")
			}
			c.User.Name = args[0]
			if len(args) == 2 {
				c.User.Email = args[1]
			}
			return nil
		},
	}
}

const (
	maxController = 100
	maxPurpose    = 1000
	maxTermsURL   = 1000
)

// check checks the block, which is nil if the site has none.
func (c *Consent) check() error {
	if c == nil {
		return nil
	}
	c.Controller, c.Purpose = singleSpaces(c.Controller), singleSpaces(c.Purpose)
	if err := checkText("controller", c.Controller, maxController); err != nil {
		return err
	}
	if err := checkText("purpose", c.Purpose, maxPurpose); err != nil {
		return err
	}
	u, err := url.Parse(c.TermsURL)
	if err != nil || u.Hostname() == "" || u.User != nil || len(c.TermsURL) > maxTermsURL || strings.ContainsFunc(c.TermsURL, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("{}\\", r) }) {
		return fmt.Errorf("consent: terms_url %q is not an absolute URL such as https://www.example.com/terms", c.TermsURL)
	}
	if !isSecure(u) {
		return fmt.Errorf("consent: terms_url %q is not https (http is accepted for a loopback host only)", c.TermsURL)
	}
	for _, placeholder := range []string{c.User.Name, c.User.Email} {
		if placeholder != "" && !isPlaceholders(placeholder) {
			return fmt.Errorf("consent: user %q is not a placeholder, so all visitors would be called that: write one that an earlier handler sets, such as {http.auth.user.id}, or leave it out", placeholder)
		}
	}
	return nil
}

// checkText checks a text that visitors read.
func checkText(option, text string, most int) error {
	switch {
	case text == "":
		return fmt.Errorf("consent: %s is missing: consent needs controller, purpose and terms_url", option)
	case utf8.RuneCountInString(text) > most:
		return fmt.Errorf("consent: %s is longer than %d characters: shorten it", option, most)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return fmt.Errorf("consent: %s has a character that is no text: remove it", option)
	case strings.ContainsAny(text, "{}"):
		return fmt.Errorf("consent: %s has a placeholder, which is not replaced: write the text itself", option)
	}
	return nil
}

// onlyPlaceholders are one or more placeholders, with spaces between them.
var onlyPlaceholders = regexp.MustCompile(`^\{[^{}\s]+\}( *\{[^{}\s]+\})*$`)

// isPlaceholders reports whether a text is placeholders and nothing else.
func isPlaceholders(text string) bool { return onlyPlaceholders.MatchString(text) }

// singleSpaces returns a text with single spaces in place of line breaks and the like, as
// a browser shows it.
func singleSpaces(text string) string { return strings.Join(strings.Fields(text), " ") }
