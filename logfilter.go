package truelayer

import (
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
)

func init() {
	caddy.RegisterModule(new(LogFilter))
}

// LogFilter removes the secrets of a login from the addresses in a log: the
// authorization code and the state in the query of the callback, and the state in the
// auth link. It is meant for the fields `request>uri` and `resp_headers>Location` of
// access logs, which Caddy otherwise writes unchanged.
type LogFilter struct {
	counted bool
}

// logFilters is how many filters the process has configured.
var logFilters atomic.Int64

// secretParams are the query parameters whose values are redacted (RFC 6749 section
// 4.1, RFC 7636 section 4.3).
var secretParams = []string{"code", "state", "code_challenge"}

const redacted = "REDACTED"

// CaddyModule returns the Caddy module information.
func (*LogFilter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.encoders.filter.truelayer",
		New: func() caddy.Module { return new(LogFilter) },
	}
}

// UnmarshalCaddyfile sets the filter up from Caddyfile tokens. Syntax:
//
//	request>uri truelayer
func (*LogFilter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the filter's name
	if d.NextArg() || d.NextBlock(0) {
		return d.Err("the log filter truelayer takes no argument and no block")
	}
	return nil
}

// Provision counts the filter, so that accessLogWarning knows that there is one.
func (f *LogFilter) Provision(caddy.Context) error {
	f.counted = true
	logFilters.Add(1)
	return nil
}

// Cleanup stops counting the filter.
func (f *LogFilter) Cleanup() error {
	if f.counted {
		f.counted = false
		logFilters.Add(-1)
	}
	return nil
}

// Filter implements logging.LogFieldFilter.
func (*LogFilter) Filter(field zapcore.Field) zapcore.Field {
	lines, ok := field.Interface.(caddyhttp.LoggableStringArray)
	if !ok {
		field.String = redactURL(field.String)
		return field
	}
	lines = slices.Clone(lines)
	for i := range lines {
		lines[i] = redactURL(lines[i])
	}
	field.Interface = lines
	return field
}

// redactURL redacts the secret parameters in a URL's query, however their names are
// escaped, and leaves everything else unchanged. The login URL's parameter "return" is
// itself a URL, in which it redacts the same parameters.
func redactURL(s string) string { return redactNested(s, maxNested) }

// maxNested is how many levels of return targets inside return targets are parsed.
// Deeper ones are redacted as a whole.
const maxNested = 3

func redactNested(s string, depth int) string {
	before, query, found := strings.Cut(s, "?")
	if !found {
		return s
	}
	query, fragment, hasFragment := strings.Cut(query, "#")
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		plain = strings.TrimSpace(plain)
		switch {
		case err != nil || slices.ContainsFunc(secretParams, func(secret string) bool { return strings.EqualFold(secret, plain) }):
			pairs[i] = name + "=" + redacted
		case strings.EqualFold(plain, "return"):
			pairs[i] = name + "=" + redactTarget(value, depth)
		}
	}
	s = before + "?" + strings.Join(pairs, "&")
	if hasFragment {
		s += "#" + fragment
	}
	return s
}

// redactTarget is redactNested for a URL that is escaped as a query parameter's value.
func redactTarget(value string, depth int) string {
	target, err := url.QueryUnescape(value)
	if err != nil || depth == 0 && strings.Contains(target, "?") {
		return redacted
	}
	if clean := redactNested(target, depth-1); clean != target {
		return url.QueryEscape(clean)
	}
	return value
}

// Interface guards
var (
	_ logging.LogFieldFilter = (*LogFilter)(nil)
	_ caddy.Provisioner      = (*LogFilter)(nil)
	_ caddy.CleanerUpper     = (*LogFilter)(nil)
	_ caddyfile.Unmarshaler  = (*LogFilter)(nil)
)
