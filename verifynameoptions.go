package truelayer

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
)

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

// checkVerifyAPI refuses a guess at the Verification API beside another auth server: it gets
// the access tokens.
func (h *Handler) checkVerifyAPI() error {
	if h.VerifyName != nil && h.VerifyName.API == "" && h.AuthServer != "" && h.AuthServer != environments[cmp.Or(h.Environment, "live")].authServer {
		return errors.New("verify_name: api is missing: with auth_server, say which Verification API gets the access tokens, such as https://api.truelayer.com")
	}
	return nil
}

// isVisitorsChoice reports whether a text has a placeholder whose value the request brings
// along. The certificate of a client is not its own choice.
func isVisitorsChoice(text string) bool {
	for placeholder := range strings.SplitSeq(text, "{") {
		request, ok := strings.CutPrefix(placeholder, "http.request.")
		if ok && !strings.HasPrefix(request, "tls.client.") || strings.HasPrefix(placeholder, "http.regexp.") {
			return true
		}
	}
	return false
}
