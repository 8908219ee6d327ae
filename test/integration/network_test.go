package integration

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestNetworksOfTheRecipe: the keys of the recipe for rate limits in
// docs/deployment.md are a client's network. A limit for each address would be none
// for whoever has 2^64.
func TestNetworksOfTheRecipe(t *testing.T) {
	text, err := os.ReadFile("../../docs/deployment.md")
	if err != nil {
		t.Fatal(err)
	}
	mapping := regexp.MustCompile(`(?m)^map \{client_ip\}(?s:.*?)^\}$`).FindString(string(text))
	key := regexp.MustCompile(`(?m)^\s+key (\S+)$`).FindStringSubmatch(string(text))
	if mapping == "" || key == nil {
		t.Fatal("docs/deployment.md has no such recipe")
	}
	w := start(t, plain, func(w *world) {
		w.Global = "servers {\n trusted_proxies static 127.0.0.0/8 ::1/128\n }"
		w.Before = mapping + "\nheader X-Remote " + key[1] + "\nheader X-Client {client_network}"
		w.Matcher = "/account*"
	})
	for address, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"2001:db8:1:2::5":      "2001:db8:1:2::/64",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"2001:db8:1:3::5":      "2001:db8:1:3::/64",
		"2001:DB8:1:2::9":      "2001:db8:1:2::/64",
		"2001:db8::1":          "2001:db8::/64",
		"2001:db8::ffff:1":     "2001:db8::/64",
		"2001:db8::1:2:3:4":    "2001:db8::/64",
		"fe80::1":              "fe80::/64",
		"::ffff:192.0.2.7":     "::ffff:192.0.2.7",
	} {
		a := w.browser().do("GET", w.Site+"/", "X-Forwarded-For", address)
		equal(t, address, a.Header.Get("X-Client"), want)
		if remote := a.Header.Get("X-Remote"); remote != "127.0.0.1/32" && !strings.HasSuffix(remote, "/64") {
			t.Errorf("the remote network is %q", remote)
		}
	}
}
