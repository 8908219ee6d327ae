package truelayer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
)

// VerifyName is a name for which the visitor's bank is to vouch.
type VerifyName struct {
	// The name, by a placeholder that an earlier handler sets, such as
	// `{http.auth.user.id}` of `basic_auth`. In a Caddyfile it is the argument of
	// `verify_name`. Default: visitors say it themselves, on
	// `<redirect path>/name`.
	Name string `json:"name,omitempty"`

	// The lowest score, from 1 to 100, that counts as a match. TrueLayer's own decision
	// does not count then. Default: TrueLayer decides.
	MinScore int `json:"min_score,omitempty"`

	// How long the bank's word holds. Then the bank is asked again. Default: 24h.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// How long a request waits for the bank's word. Then it goes on without. Default: 2s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The base URL of the Verification API, which gets the access token. Plain http only
	// for a loopback host. Required with `auth_server`. Default: the environment's.
	API string `json:"api,omitempty"`

	// Do not tell TrueLayer the visitor's IP address, in `X-PSU-IP`. TrueLayer documents
	// the field for other APIs, in which calls without it are limited. Default: off.
	OmitClientIP bool `json:"omit_client_ip,omitempty"`

	// Keep the name of the account's holder, sealed in the session, and give it to the
	// application in `{http.truelayer.account_holder}`. It is personal data. Default: off.
	ExposeAccountHolder bool `json:"expose_account_holder,omitempty"`

	// The placeholder's value comes with the request, such as a header field, and
	// something in front of Caddy always overwrites it. Without this such a placeholder is
	// refused, since visitors could choose whose name is compared. Default: off.
	TrustHeader bool `json:"trust_header,omitempty"`
}

// options is the table of the block's options.
func (v *VerifyName) options() block.Options {
	return block.Options{
		{Name: "min_score", Syntax: "<n>", Value: block.Number(&v.MinScore, 1, 0), Check: v.checkMinScore},
		{Name: "max_age", Syntax: "<duration>", Value: block.Duration(&v.MaxAge, 24*time.Hour)},
		{Name: "timeout", Syntax: "<duration>", Value: block.Duration(&v.Timeout, 2*time.Second)},
		{Name: "api", Syntax: "<base URL>", Value: block.Word(&v.API, ""), Check: func() error { return checkServerURL("api", v.API) }},
		{Name: "omit_client_ip", Value: block.Flag(&v.OmitClientIP)},
		{Name: "expose_account_holder", Value: block.Flag(&v.ExposeAccountHolder)},
		{Name: "trust_header", Value: block.Flag(&v.TrustHeader)},
	}
}

func (v *VerifyName) checkMinScore() error {
	if v.MinScore > 100 {
		return fmt.Errorf("min_score %d is more than 100, the highest score there is", v.MinScore)
	}
	return nil
}

// check checks the block, which is nil if the site has none.
func (v *VerifyName) check() error {
	switch {
	case v == nil:
		return nil
	case v.Name == "" && v.TrustHeader:
		return errors.New("verify_name: trust_header is for a placeholder: give verify_name one, or leave trust_header out")
	case v.Name == "": // visitors say it themselves
		return nil
	case !isPlaceholders(v.Name):
		return fmt.Errorf("verify_name %q is not a placeholder, so all visitors would be called that: write one that an earlier handler sets, such as {http.auth.user.name}", v.Name)
	case !v.TrustHeader && isVisitorsChoice(v.Name):
		return fmt.Errorf("verify_name %s is the visitor's own choice: whoever sends the request says whose name is compared; use a placeholder that a handler sets, or add trust_header if something in front always overwrites it", v.Name)
	}
	return nil
}

// verifyNameArgument is the placeholder before the block, if there is one.
func verifyNameArgument(v *VerifyName) block.Value {
	return block.Arguments{Read: func(args []string) error {
		if len(args) > 1 {
			return errors.New("verify_name takes at most one placeholder; quote it if it has spaces")
		}
		v.Name = strings.Join(args, "")
		return nil
	}}
}

// visitorsChoices are the beginnings of placeholders whose values the request brings along.
// The certificate of a client is one: Caddy can be told to accept any.
var visitorsChoices = []string{"http.request.", "http.regexp.", "http.matchers.", "http.vars.client_ip"}

// isVisitorsChoice reports whether a text has such a placeholder. What `vars` and `map` set
// cannot be looked through.
func isVisitorsChoice(text string) bool {
	for placeholder := range strings.SplitSeq(text, "{") {
		if slices.ContainsFunc(visitorsChoices, func(begin string) bool { return strings.HasPrefix(placeholder, begin) }) {
			return true
		}
	}
	return false
}
