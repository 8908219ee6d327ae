package truelayer

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/block"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

func init() {
	caddy.RegisterModule(new(Require))
	httpcaddyfile.RegisterDirective("truelayer_require", parseRequire)
	// which is after truelayer; an order can only name Caddy's own directives
	httpcaddyfile.RegisterDirectiveOrder("truelayer_require", httpcaddyfile.Before, "request_header")
}

// Require lets those requests go on whose session has more than a bank connection. It has
// to stand behind a `truelayer` block, and refuses what no such block protects.
//
// The requests that it is for are chosen by its matcher, which fails closed like that of
// `truelayer`: a request that an application may read as one of them is one of them.
type Require struct {
	// The scopes that the session must have, all of them. Default: none.
	Scopes []string `json:"scopes,omitempty"`

	// The banks, by their ids, one of which the session must be connected to. A session
	// whose bank TrueLayer did not name is refused. Default: all.
	Providers []string `json:"providers,omitempty"`

	// The bank must have said that the visitor's name is that of the account's holder, see
	// `verify_name`. Default: off.
	VerifiedName bool `json:"verified_name,omitempty"`

	// Which requests this is for. Default: all.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	match  caddyhttp.MatcherSets
	rule   ruleKey // of the scopes
	joined bool    // whether the rule is among those that links may name
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Require) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.truelayer_require", New: func() caddy.Module { return new(Require) }}
}

// parseRequire moves the directive's matcher into the handler, which fails closed.
func parseRequire(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	handler := new(Require)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if matcher != nil {
		handler.MatcherSetsRaw = caddyhttp.RawMatcherSets{matcher}
	}
	return h.NewRoute(nil, handler), nil
}

// options is the table of the handler's options.
func (r *Require) options() block.Options {
	return block.Options{
		{Name: "scopes", Syntax: "<scope...>", Value: block.Words(&r.Scopes), Check: func() error { return checkWords("scopes", r.Scopes) }},
		{Name: "providers", Syntax: "<provider...>", Value: block.Words(&r.Providers), Check: func() error { return checkWords("providers", r.Providers) }},
		{Name: "verified_name", Value: block.Flag(&r.VerifiedName)},
	}
}

// UnmarshalCaddyfile sets the handler up from Caddyfile tokens. Syntax:
//
//	truelayer_require [<matcher>] {
//		scopes        <scope...>
//		providers     <provider...>
//		verified_name
//	}
func (r *Require) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Err("truelayer_require takes a matcher and a block, nothing else on its line; a path matcher begins with a slash")
	}
	if err := r.options().Read(d, "truelayer_require"); err != nil {
		return err
	}
	if err := r.checkAny(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (r *Require) checkAny() error {
	if len(r.Scopes) == 0 && len(r.Providers) == 0 && !r.VerifiedName {
		return errors.New("truelayer_require requires nothing: give it scopes, providers or verified_name, or remove it")
	}
	return nil
}

// Provision checks the configuration and loads the matcher.
func (r *Require) Provision(ctx caddy.Context) error {
	r.logger = ctx.Logger()
	if err := errors.Join(r.options().Check(), r.checkAny()); err != nil {
		return err
	}
	for _, warning := range spellingWarnings(r.Scopes, r.Providers) {
		r.logger.Warn("truelayer_require: " + warning)
	}
	matchers, err := ctx.LoadModule(r, "MatcherSetsRaw")
	if err != nil {
		return err
	}
	if matchers != nil {
		if err := r.match.FromInterface(matchers); err != nil {
			return err
		}
	}
	if len(r.Scopes) == 0 {
		return nil
	}
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	r.rule, err = joinRules(server, r.Scopes)
	r.joined = err == nil
	return err
}

// Cleanup gives back what Provision took.
func (r *Require) Cleanup() error {
	if !r.joined {
		return nil
	}
	r.joined = false
	return leaveRules(r.rule)
}

var (
	errNoBlockBefore = errors.New("a request came to truelayer_require that no truelayer block protects: put a truelayer block that protects it before truelayer_require")
	errNoNames       = errors.New("a request came to truelayer_require with verified_name, and the truelayer block that protects it asks no bank about names: add verify_name to that block")
)

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (r *Require) ServeHTTP(w http.ResponseWriter, req *http.Request, next caddyhttp.Handler) error {
	q := newRequest(req, new(cookieNames), time.Time{})
	required, err := protection{r.match}.covers(&q)
	if err != nil {
		q.dropToken()
		return err
	}
	if !required {
		return next.ServeHTTP(w, req)
	}
	if q.state == nil || q.state.session == nil {
		r.logger.Error(errNoBlockBefore.Error(), zap.String("path", sanitize(q.path())))
		return caddyhttp.Error(http.StatusForbidden, errNoBlockBefore)
	}
	if r.VerifiedName && q.state.verification == nil {
		r.logger.Error(errNoNames.Error(), zap.String("path", sanitize(q.path())))
	}
	if why, received := r.refuses(q.state); why != "" {
		q.dropToken()
		q.state.refused = true
		return q.state.block.refuseSession(w, &q, why, received, r.rule.id)
	}
	return next.ServeHTTP(w, req)
}

// refuses returns why the session of a request is not enough, "" if it is, and what came in
// place of what is required.
func (r *Require) refuses(state *requestState) (why reason, received string) {
	s := state.session
	granted := strings.Fields(s.Scopes)
	if slices.ContainsFunc(r.Scopes, func(scope string) bool { return !slices.Contains(granted, scope) }) {
		return scopeMissing, s.Scopes
	}
	if len(r.Providers) > 0 && !slices.Contains(r.Providers, s.Provider) {
		return providerRefused, s.Provider
	}
	if known := state.verification.result(); r.VerifiedName && known != vouch.Match {
		return cmp.Or(refusals[known], verificationUnavailable), ""
	}
	return "", ""
}

// refusals are why a name that is no match is refused.
var refusals = map[vouch.Result]reason{
	vouch.NotAsked:      nameMissing,
	vouch.NoMatch:       nameMismatch,
	vouch.NotVerifiable: accountNotVerifiable,
	vouch.Unavailable:   verificationUnavailable,
	vouch.TooManyNames:  tooManyNames,
}

// dropToken takes the tokens off a request that does not go on: error routes may proxy it
// anywhere.
func (q *request) dropToken() {
	if q.state == nil {
		return
	}
	for _, field := range q.state.tokenFields {
		delete(q.Header, field)
	}
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*Require)(nil)
	_ caddy.Provisioner           = (*Require)(nil)
	_ caddy.CleanerUpper          = (*Require)(nil)
	_ caddyfile.Unmarshaler       = (*Require)(nil)
)
