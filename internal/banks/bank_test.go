package banks

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
)

func nowhere(string) bool { return false }

// TestRead: a bank is what the list says of it, or the careful guess.
func TestRead(t *testing.T) {
	choice := tlapi.Step{ID: "x", Name: "Branch\x00", HelpText: "Choose\none", Mandatory: true, Values: []tlapi.Value{{Value: "a", Name: "A\u202e"}}}
	chosen := Step{ID: "x", Name: "Branch", Help: "Choose one", Mandatory: true, Options: []Option{{"a", "A"}}}
	nameless := tlapi.Step{ID: "y", Values: []tlapi.Value{{Value: "b", Name: "B"}}}
	long := tlapi.Step{ID: "z", Values: []tlapi.Value{{Value: strings.Repeat("a", maxValue+1), Name: "A"}}}
	unnamed := tlapi.Step{ID: "z", Values: []tlapi.Value{{Value: "a", Name: "\u202e"}}}
	for name, test := range map[string]struct {
		provider tlapi.Provider
		want     Bank
	}{
		"whole": {
			tlapi.Provider{ID: "ob-monzo", Name: "Monzo", Country: "uk", LogoURL: "logo", Status: "healthy"},
			Bank{ID: "ob-monzo", Name: "Monzo", Country: "uk", Healthy: true, HasLogo: true},
		},
		"id alone":       {tlapi.Provider{ID: "a"}, Bank{ID: "a", Name: "a", Healthy: true}},
		"unhealthy":      {tlapi.Provider{ID: "a", Status: "Unhealthy"}, Bank{ID: "a", Name: "a"}},
		"unknown status": {tlapi.Provider{ID: "a", Status: "middling"}, Bank{ID: "a", Name: "a", Healthy: true}},
		"choice":         {tlapi.Provider{ID: "a", Steps: []tlapi.Step{choice, nameless}}, Bank{ID: "a", Name: "a", Healthy: true, Steps: []Step{chosen, {ID: "y", Name: "y", Options: []Option{{"b", "B"}}}}}},
		"text":           {tlapi.Provider{ID: "a", Steps: []tlapi.Step{choice, {ID: "y"}}}, Bank{ID: "a", Name: "a", Healthy: true, Dialog: true}},
		"secret":         {tlapi.Provider{ID: "a", Steps: []tlapi.Step{{ID: "y", Sensitive: true, Values: nameless.Values}}}, Bank{ID: "a", Name: "a", Healthy: true, Dialog: true}},
		"twice":          {tlapi.Provider{ID: "a", Steps: []tlapi.Step{choice, choice}}, Bank{ID: "a", Name: "a", Healthy: true, Dialog: true}},
		"long value":     {tlapi.Provider{ID: "a", Steps: []tlapi.Step{long}}, Bank{ID: "a", Name: "a", Healthy: true, Dialog: true}},
		"odd value":      {tlapi.Provider{ID: "a", Steps: []tlapi.Step{{ID: "y", Values: []tlapi.Value{{Value: "a\x00", Name: "A"}}}}}, Bank{ID: "a", Name: "a", Healthy: true, Dialog: true}},
		"unnamed value":  {tlapi.Provider{ID: "a", Steps: []tlapi.Step{unnamed}}, Bank{ID: "a", Name: "a", Healthy: true, Dialog: true}},
		"upper case":     {tlapi.Provider{ID: "a", Country: "FR"}, Bank{ID: "a", Name: "a", Country: "fr", Healthy: true}},
		"ISO 3166":       {tlapi.Provider{ID: "a", Country: "gb"}, Bank{ID: "a", Name: "a", Country: "uk", Healthy: true}},
		"odd country":    {tlapi.Provider{ID: "a", Country: "u/"}, Bank{ID: "a", Name: "a", Healthy: true}},
		"long country":   {tlapi.Provider{ID: "a", Country: "fra"}, Bank{ID: "a", Name: "a", Healthy: true}},
	} {
		list := read([]tlapi.Provider{test.provider}, func(address string) bool { return address == "logo" })
		if !reflect.DeepEqual(list.banks, []Bank{test.want}) {
			t.Errorf("%s: %+v", name, list.banks)
		}
	}
}

// TestOddIDs: a bank whose id could not stand in an address is left out, and so is the
// second one of an id.
func TestOddIDs(t *testing.T) {
	providers := []tlapi.Provider{{ID: "ob-b", Name: "First"}, {ID: "ob-b", Name: "Second"}}
	for _, id := range []string{"", "../a", "a/b", "A", "a b", "a.b", "a%2f", "ä", "a\n", "a_b", strings.Repeat("a", 65)} {
		providers = append(providers, tlapi.Provider{ID: id, Name: "Odd"})
	}
	if list := read(providers, nowhere); len(list.banks) != 1 || list.banks[0].Name != "First" || len(list.logos) != 1 {
		t.Errorf("%+v", list)
	}
}

// TestNames: a name changes neither the text around it nor a line of the log.
func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"Crédit Agricole":           "Crédit Agricole",
		"a\x00b\x1b[31mc":           "ab[31mc",
		"a\r\nb\tc":                 "a b c",
		"evil\u202eknab\u202c":      "evilknab",
		"a\u2066b\u200fc\u200bd":    "abcd",
		"a\u2028b\u2029c\u0085d":    "a b c d",
		"\ufeffBank \xff\xfe":       "Bank \ufffd\ufffd",
		"  a  b ":                   "a b",
		"\u0000\u202e ":             "",
		"<script>alert(1)</script>": "<script>alert(1)</script>",
		strings.Repeat("é", 200):    strings.Repeat("é", 100),
		"\ue000\U000f0000\u0378":    "", // private and unassigned
	} {
		if got := clean(name, maxName); got != want {
			t.Errorf("%q is %q", name, got)
		}
	}
}

// TestOrder: banks are sorted by name, and those of one name by id.
func TestOrder(t *testing.T) {
	list := read([]tlapi.Provider{{ID: "d", Name: "beta"}, {ID: "c", Name: "Alpha"}, {ID: "b", Name: "Beta"}, {ID: "a", Name: "gamma"}}, nowhere)
	var ids []string
	for _, b := range list.banks {
		ids = append(ids, b.ID)
	}
	if !reflect.DeepEqual(ids, []string{"c", "b", "d", "a"}) {
		t.Error(ids)
	}
}

// TestVeryManyBanks: a list is bounded.
func TestVeryManyBanks(t *testing.T) {
	var providers []tlapi.Provider
	for i := range 50000 {
		providers = append(providers, tlapi.Provider{ID: fmt.Sprint("ob-", i), Name: strings.Repeat("x", 1000), LogoURL: "https://assets.truelayer.com/" + strings.Repeat("x", maxAddress)})
	}
	list := read(providers, newDestinations("https://auth.truelayer.com").permits)
	if len(list.banks) != maxBanks || len(list.logos) != maxBanks || len(list.banks[0].Name) != maxName || list.banks[0].HasLogo {
		t.Errorf("%d banks", len(list.banks))
	}
}

// FuzzBanks: whatever a provider is called, the bank of it can stand on a page.
func FuzzBanks(f *testing.F) {
	f.Add("ob-monzo", "Monzo", "uk")
	f.Add("a/b", "\u202e\xff", "u\x00")
	f.Fuzz(func(t *testing.T, id, name, country string) {
		for _, b := range read([]tlapi.Provider{{ID: id, Name: name, Country: country}}, nowhere).banks {
			if b.Name == "" || !utf8.ValidString(b.Name) || utf8.RuneCountInString(b.Name) > maxName {
				t.Errorf("name %q", b.Name)
			}
			if strings.ContainsFunc(b.Name, func(r rune) bool { return unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) }) {
				t.Errorf("name %q", b.Name)
			}
			if strings.Trim(b.ID, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || b.ID != id || len(b.Country) != 0 && len(b.Country) != 2 {
				t.Errorf("%+v", b)
			}
			if again, err := json.Marshal(b); err != nil || len(again) > 1000 {
				t.Error(len(again), err)
			}
		}
	})
}
