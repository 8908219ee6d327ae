package integration

import (
	"strings"
	"testing"
)

// TestWarnsOfCallback: a block whose callback cannot arrive says so when it is
// loaded, once, and what to do. No other block does.
func TestWarnsOfCallback(t *testing.T) {
	const begin, end = "\ttruelayer {{.Matcher}} {", "\t\t{{.Options}}\n\t}\n"
	for name, test := range map[string]struct {
		before, after, site string
		want                string
	}{
		"the site's":                      {"", "", "http://localhost:{{.Port}}", ""},
		"every host":                      {"", "", "http://:{{.Port}}", ""},
		"handle with a matcher":           {"handle /account* {", "}", "http://localhost:{{.Port}}", "does not match the path of redirect_uri"},
		"handle with the path":            {"handle /truelayer* {", "}", "http://localhost:{{.Port}}", ""},
		"handle_path":                     {"handle_path /account/* {", "}", "http://localhost:{{.Port}}", "does not match the path of redirect_uri"},
		"handle_path with the path":       {"handle_path /truelayer* {", "}", "http://localhost:{{.Port}}", ""},
		"a route with a matcher":          {"route /account* {", "}", "http://localhost:{{.Port}}", "does not match the path of redirect_uri"},
		"a negated matcher":               {"@not not path /truelayer*\nhandle @not {", "}", "http://localhost:{{.Port}}", "does not match the path of redirect_uri"},
		"a matcher of something else":     {"@get method GET\n@some header X-Some *\nroute @get {\nroute @some {", "}\n}", "http://localhost:{{.Port}}", ""},
		"of POST":                         {"@post method POST\nroute @post {", "}", "http://localhost:{{.Port}}", "does not match the path of redirect_uri"},
		"two levels":                      {"route {\nhandle /account* {", "}\n}", "http://localhost:{{.Port}}", "does not match the path of redirect_uri"},
		"what the others leave":           {"handle /blog/* {\nrespond blog\n}\nhandle {", "}", "http://localhost:{{.Port}}", ""},
		"what another takes":              {"handle /true* {\nrespond blog\n}\nhandle {", "}", "http://localhost:{{.Port}}", "an earlier handle block matches the path"},
		"behind a proxy in a route":       {"route {\nreverse_proxy {{.App}}", "}", "http://localhost:{{.Port}}", "an earlier reverse_proxy answers its path"},
		"beside a proxy of another path":  {"route {\nreverse_proxy /api/* {{.App}}", "}", "http://localhost:{{.Port}}", ""},
		"behind forward_auth":             {"forward_auth {{.App}} {\nuri /auth\n}", "", "http://localhost:{{.Port}}", ""},
		"behind a redirect":               {"redir /truelayer* /login", "", "http://localhost:{{.Port}}", "an earlier redir or respond answers its path"},
		"behind a redirect of another":    {"redir /old /new", "", "http://localhost:{{.Port}}", ""},
		"behind an answer to everything":  {"route {\nrespond hello", "}", "http://localhost:{{.Port}}", "an earlier redir or respond answers its path"},
		"behind an answer to some":        {"@some header X-Some *\nroute {\nrespond @some hello", "}", "http://localhost:{{.Port}}", ""},
		"behind a nested answer":          {"route {\nroute /truelayer {\nrespond hello\n}", "}", "http://localhost:{{.Port}}", "an earlier redir or respond answers its path"},
		"behind a rewrite":                {"route {\nrewrite /truelayer /other\nrespond /truelayer hello", "}", "http://localhost:{{.Port}}", ""},
		"a host that nobody serves":       {"", "", "http://127.0.0.1:{{.Port}}", "the site does not serve the host of redirect_uri"},
		"two hosts":                       {"", "", "http://localhost:{{.Port}}, http://127.0.0.1:{{.Port}}", "visitors of 127.0.0.1 are sent to localhost to log in"},
		"two sites":                       {"", "}\nhttp://127.0.0.1:{{.Port}} {\nrespond other", "http://localhost:{{.Port}}", ""},
		"a wildcard beside the host":      {"", "", "http://localhost:{{.Port}}, http://*.example.com:{{.Port}}", ""},
		"an answer in a handle elsewhere": {"handle /static/* {\nrespond static\n}", "", "http://localhost:{{.Port}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			site := strings.NewReplacer("http://localhost:{{.Port}} {", test.site+" {", begin, test.before+"\n"+begin, end, end+test.after+"\n").Replace(plain)
			w := start(t, site, nil)
			warnings := strings.Count(w.log.text(t), "cannot arrive at this truelayer block") + strings.Count(w.log.text(t), "the site has other hosts")
			if test.want == "" {
				equal(t, "warnings", warnings, 0)
				return
			}
			equal(t, "warnings", warnings, 1)
			if !strings.Contains(w.log.text(t), test.want) {
				t.Errorf("the log does not say %q: %s", test.want, w.log.text(t))
			}
			equal(t, "beside it", strings.Count(w.log.text(t), "bypass its truelayer block"), 0)
		})
	}
}

// TestWarnsOfPasswordBehind: a basic_auth that never gets a password because the token of
// the bank is in its place is told of when it is loaded.
func TestWarnsOfPasswordBehind(t *testing.T) {
	const begin, end = "\ttruelayer {{.Matcher}} {", "\t\t{{.Options}}\n\t}\n"
	for name, test := range map[string]struct {
		before, after, options string
		want                   int
	}{
		"in front":                   {basicAuth, "", "", 0},
		"in front, in a route":       {"route {\n" + basicAuth, "}", "", 0},
		"behind it in a route":       {"route {", basicAuth + "\n}", "", 1},
		"in a handle of the site":    {"", "handle /admin* {\n" + basicAuth + "\n}", "", 1},
		"with a field for the token": {"route {", basicAuth + "\n}", "token_header X-Token", 0},
		"in another site":            {"", "}\nhttp://127.0.0.1:{{.Port}} {\n" + basicAuth, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			site := strings.NewReplacer(begin, test.before+"\n"+begin, end, end+test.after+"\n").Replace(plain)
			w := start(t, site, func(w *world) { w.Options = test.options })
			equal(t, "warnings", strings.Count(w.log.text(t), "basic_auth stands behind truelayer"), test.want)
		})
	}
}

// TestWarnsOfProxy: a proxy in front that trusted_proxies does not name is told of once,
// when its visitors log in. Nobody has to be told of one that is named, or of none.
func TestWarnsOfProxy(t *testing.T) {
	for name, test := range map[string]struct {
		global, field string
		want          int
	}{
		"not named": {"", "203.0.113.7", 1},
		"named":     {"servers {\n\t\ttrusted_proxies static 127.0.0.0/8 ::1/128\n\t}", "203.0.113.7", 0},
		"no proxy":  {"", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.Global = test.global })
			for range 3 {
				b := w.browser()
				header := asNavigation
				if test.field != "" {
					header = append([]string{"X-Forwarded-For", test.field}, asNavigation...)
				}
				equal(t, "login", b.do("GET", w.approve(b, w.Site+"/page"), header...).location(), "/page")
			}
			equal(t, "warnings", strings.Count(w.log.text(t), "a proxy that trusted_proxies does not name"), test.want)
		})
	}
}
