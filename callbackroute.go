package truelayer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// warnOfCallback warns if the callback of a login cannot arrive at the block that is
// being provisioned, as far as the routes around it tell. Visitors would finish a
// login, and something else would get the code. It reports whether it has warned.
func warnOfCallback(ctx caddy.Context, redirect *url.URL, tokenField string, logger *zap.Logger) bool {
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil {
		return false
	}
	way, err := newCallbackWay(redirect, server)
	if err != nil {
		return false
	}
	obstacle := way.through(server.Routes)
	for _, routes := range subroutesOf(ctx) {
		if obstacle == "" {
			obstacle = way.through(routes)
		}
	}
	if obstacle != "" {
		logger.Warn("the callback of a login cannot arrive at this truelayer block: "+obstacle, zap.String("redirect_uri", redirect.String()))
	}
	if hosts := way.otherHosts(server.Routes); len(hosts) > 0 {
		logger.Warn(fmt.Sprintf("the site has other hosts than its redirect_uri: visitors of %s are sent to %s to log in, and stay there; give each host a site block of its own",
			strings.Join(hosts, ", "), redirect.Hostname()), zap.String("redirect_uri", redirect.String()))
	}
	if behind := passwordBehind(append(subroutesOf(ctx), server.Routes)); behind && tokenField == "Authorization" {
		logger.Warn("basic_auth stands behind truelayer, where Authorization has the token of the bank and no password ever arrives: "+
			"put it in front, in a route block for example, or give the token another field with token_header", zap.String("redirect_uri", redirect.String()))
	}
	return obstacle != ""
}

// subroutesOf returns the lists of routes around the block, the server's excepted.
func subroutesOf(ctx caddy.Context) (lists []caddyhttp.RouteList) {
	for _, module := range ctx.Modules() {
		if subroute, ok := module.(*caddyhttp.Subroute); ok {
			lists = append(lists, subroute.Routes)
		}
	}
	return lists
}

// passwordBehind reports whether a handler that comes after the block in one of the
// lists checks passwords. Those are known by their configuration only.
func passwordBehind(lists []caddyhttp.RouteList) bool {
	for _, routes := range lists {
		last := slices.IndexFunc(routes, isBeingProvisioned)
		if last < 0 {
			continue
		}
		for i, route := range routes[last:] {
			if i > 0 && hasHosts(route.MatcherSetsRaw, route.MatcherSets) {
				break // another site
			}
			behind := i > 0
			for _, raw := range route.HandlersRaw {
				isBlock := hasHandler(raw, "truelayer")
				behind = behind || isBlock
				if behind && !isBlock && hasHandler(raw, "authentication") {
					return true
				}
			}
		}
	}
	return false
}

// hasHandler reports whether a handler's configuration has the named one in it.
func hasHandler(raw json.RawMessage, name string) bool {
	var compact bytes.Buffer // JSON may have spaces anywhere
	return json.Compact(&compact, raw) == nil && bytes.Contains(compact.Bytes(), []byte(`"handler":"`+name+`"`))
}

// hasHosts reports whether a route is a site of its own.
func hasHosts(raw caddyhttp.RawMatcherSets, sets caddyhttp.MatcherSets) bool {
	for _, set := range raw {
		if _, ok := set["host"]; ok {
			return true
		}
	}
	for _, set := range sets {
		for _, matcher := range set {
			if _, ok := matcher.(*caddyhttp.MatchHost); ok {
				return true
			}
		}
	}
	return false
}

// callbackWay follows a callback through the routes around a block.
type callbackWay struct {
	request *http.Request
	// rewritten says that a handler on the way may have changed the path.
	rewritten bool
}

func newCallbackWay(redirect *url.URL, server *caddyhttp.Server) (*callbackWay, error) {
	r, err := http.NewRequest(http.MethodGet, redirect.String()+"?code=code&state=state", http.NoBody)
	if err != nil {
		return nil, err
	}
	return &callbackWay{request: caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, server)}, nil
}

// verdict is whether something matches a callback.
type verdict int

const (
	no verdict = iota
	maybe
	yes
)

// through follows the callback through a list of routes, up to the one that is being
// provisioned, which is the one that the block is in. It returns what keeps the
// callback from it, and what to do, or "".
func (c *callbackWay) through(routes caddyhttp.RouteList) string {
	last := slices.IndexFunc(routes, isBeingProvisioned)
	if last < 0 {
		return ""
	}
	for _, route := range routes[:last] {
		matches := c.matchesAny(route.MatcherSets)
		if matches == yes && route.Group != "" && route.Group == routes[last].Group {
			return "an earlier handle block matches the path of redirect_uri: move truelayer out of its handle block, before the others"
		}
		for _, handler := range route.Handlers {
			if name := c.answers(handler); matches == yes && name != "" {
				return answered(name)
			}
			c.rewritten = c.rewritten || matches != no && idOf(handler) == "http.handlers.rewrite"
		}
	}
	sets := routes[last].MatcherSets
	switch matches := c.matchesAny(sets); {
	case matches == no && c.servesOtherHosts(sets):
		return "the site does not serve the host of redirect_uri: add the host to the site's addresses, or change redirect_uri"
	case matches == no:
		return "the handle, handle_path or matcher around the block does not match the path of redirect_uri: " +
			"move truelayer out of it and say with its own matcher what is protected, or put redirect_uri below the same path"
	}
	return c.before(routes[last].HandlersRaw)
}

func isBeingProvisioned(route caddyhttp.Route) bool { return len(route.HandlersRaw) > 0 }

// before looks at the handlers of the block's own route that come before it. They
// are known by their configuration only.
func (c *callbackWay) before(handlers []json.RawMessage) string {
	for _, raw := range handlers {
		var handler struct{ Handler string }
		if json.Unmarshal(raw, &handler) != nil || handler.Handler == "truelayer" || handler.Handler == "subroute" {
			return ""
		}
		if name := responders["http.handlers."+caddy.ModuleID(handler.Handler)]; name != "" && !mayPassOn(raw) {
			return answered(name)
		}
		c.rewritten = c.rewritten || handler.Handler == "rewrite"
	}
	return ""
}

func answered(name string) string {
	return fmt.Sprintf("an earlier %s answers its path: move truelayer before it, or keep the path of redirect_uri out of its matcher", name)
}

// responders are handlers that answer whatever they are given, by what operators
// call them.
var responders = map[caddy.ModuleID]string{
	"http.handlers.static_response": "redir or respond",
	"http.handlers.reverse_proxy":   "reverse_proxy",
	"http.handlers.error":           "error",
}

// answers returns what a handler is called if it answers the callback.
func (c *callbackWay) answers(handler caddyhttp.MiddlewareHandler) string {
	if subroute, ok := handler.(*caddyhttp.Subroute); ok {
		for _, route := range subroute.Routes {
			if route.Group != "" || c.matchesAny(route.MatcherSets) != yes {
				continue
			}
			for _, inner := range route.Handlers {
				if name := c.answers(inner); name != "" {
					return name
				}
			}
		}
		return ""
	}
	name := responders[idOf(handler)]
	if raw, err := json.Marshal(handler); name == "" || err != nil || mayPassOn(raw) {
		return ""
	}
	return name
}

// mayPassOn reports whether a proxy handles some answers of its upstream in another way
// than to write them, as forward_auth does.
func mayPassOn(handler json.RawMessage) bool {
	return bytes.Contains(handler, []byte(`"handle_response"`))
}

func idOf(v any) caddy.ModuleID {
	if module, ok := v.(caddy.Module); ok {
		return module.CaddyModule().ID
	}
	return ""
}

// matchesAny is the verdict on sets of which one has to match. No sets match all.
func (c *callbackWay) matchesAny(sets caddyhttp.MatcherSets) verdict {
	if len(sets) == 0 {
		return yes
	}
	best := no
	for _, set := range sets {
		best = max(best, c.matchesAll(set))
	}
	return best
}

func (c *callbackWay) matchesAll(set caddyhttp.MatcherSet) verdict {
	worst := yes
	for _, matcher := range set {
		worst = min(worst, c.matches(matcher))
	}
	return worst
}

// matches is the verdict on one matcher. On those that look at anything but host,
// path and method, or that fail, it is maybe.
func (c *callbackWay) matches(matcher any) verdict {
	switch matcher := matcher.(type) {
	case *caddyhttp.MatchNot:
		best := no
		for _, set := range matcher.MatcherSets {
			best = max(best, c.matchesAll(set))
		}
		return yes - best
	case *caddyhttp.MatchHost, *caddyhttp.MatchMethod:
	case *caddyhttp.MatchPath, *caddyhttp.MatchPathRE:
		if c.rewritten {
			return maybe
		}
	default:
		return maybe
	}
	with, ok := matcher.(caddyhttp.RequestMatcherWithError)
	if !ok {
		return maybe
	}
	switch match, err := with.MatchWithError(c.request); {
	case err != nil:
		return maybe
	case match:
		return yes
	}
	return no
}

// servesOtherHosts reports whether it is the host that does not match.
func (c *callbackWay) servesOtherHosts(sets caddyhttp.MatcherSets) bool {
	for _, set := range sets {
		for _, matcher := range set {
			if host, ok := matcher.(*caddyhttp.MatchHost); ok && c.matches(host) == no {
				return true
			}
		}
	}
	return false
}

// otherHosts are the hosts, beside that of the redirect URI, of the site that is
// being provisioned.
func (c *callbackWay) otherHosts(routes caddyhttp.RouteList) (others []string) {
	i := slices.IndexFunc(routes, isBeingProvisioned)
	if i < 0 {
		return nil
	}
	for _, set := range routes[i].MatcherSets {
		for _, matcher := range set {
			hosts, ok := matcher.(*caddyhttp.MatchHost)
			if !ok || c.matches(hosts) == no {
				continue
			}
			for _, host := range *hosts {
				if host = hostname(host); host != hostname(c.request.Host) && !strings.ContainsAny(host, "*{") && !slices.Contains(others, host) {
					others = append(others, host)
				}
			}
		}
	}
	return others
}
