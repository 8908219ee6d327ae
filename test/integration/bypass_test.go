package integration

import (
	"strings"
	"testing"
)

// TestWarnsOfScope: a block that does not see all of its site's requests cannot
// take its cookies off the others, and the log says so.
func TestWarnsOfScope(t *testing.T) {
	const begin, end = "\ttruelayer {{.Matcher}} {", "\t\t{{.Options}}\n\t}\n"
	for name, test := range map[string]struct {
		before, after, site string
		warned              bool
	}{
		"the site's":               {"", "", "http://localhost:{{.Port}}", false},
		"a site without a host":    {"", "", "http://:{{.Port}}", false},
		"a site of two hosts":      {"", "", "http://localhost:{{.Port}}, http://127.0.0.1:{{.Port}}", false},
		"a route for everything":   {"route {", "}", "http://localhost:{{.Port}}", false},
		"the only handle":          {"handle {", "}", "http://localhost:{{.Port}}", false},
		"handle with a matcher":    {"handle /bank/* {", "}", "http://localhost:{{.Port}}", true},
		"handle_path":              {"handle_path /bank/* {", "}", "http://localhost:{{.Port}}", true},
		"route with a matcher":     {"route /bank/* {", "}", "http://localhost:{{.Port}}", true},
		"two levels":               {"handle /bank/* {\nroute {", "}\n}", "http://localhost:{{.Port}}", true},
		"what the others leave":    {"handle /blog/* {\nrespond blog\n}\nhandle {", "}", "http://localhost:{{.Port}}", true},
		"handle, without a host":   {"handle /bank/* {", "}", "http://:{{.Port}}", true},
		"beside a handle of all":   {"handle /blog/* {\nrespond blog\n}", "", "http://localhost:{{.Port}}", false},
		"two levels of everything": {"route {\nhandle {", "}\n}", "http://localhost:{{.Port}}", false},
	} {
		t.Run(name, func(t *testing.T) {
			redirect := "/truelayer" // where the callback arrives
			if strings.Contains(test.before, "/bank/*") {
				redirect = "/bank" + redirect
			}
			site := strings.NewReplacer("{{.Site}}/truelayer", "{{.Site}}"+redirect, "http://localhost:{{.Port}} {", test.site+" {", begin, test.before+"\n"+begin, end, end+test.after+"\n").Replace(plain)
			w := start(t, site, nil)
			equal(t, "warned", strings.Count(w.log.text(t), "bypass its truelayer block"), map[bool]int{true: 1}[test.warned])
		})
	}
}
