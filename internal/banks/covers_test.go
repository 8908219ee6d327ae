package banks

import "testing"

// TestCovers: what a member of providers has in it, for banks whose country is known and
// for those of which only the id is.
func TestCovers(t *testing.T) {
	for _, test := range []struct {
		member, id, country string
		want                Coverage
	}{
		{"uk-ob-monzo", "ob-monzo", "uk", Yes},
		{"uk-ob-monzo", "ob-monzo", "", Yes},
		{"uk-ob-monzo", "ob-monzo", "fr", No},
		{"uk-ob-monzo", "ob-monzo-business", "uk", No},
		{"ob-monzo", "ob-monzo", "uk", Yes},
		{"ob-monzo", "ob-monzo", "", Yes},
		{"ob-monzo", "ob-hsbc", "uk", No},
		{"uk-ob-all", "ob-monzo", "uk", Yes},
		{"uk-ob-all", "ob-monzo", "", Unknown},
		{"uk-ob-all", "ob-boi", "ie", No},
		{"uk-ob-all", "oauth-monzo", "uk", No},
		{"uk-ob-all", "mock", "", No},
		{"uk-oauth-all", "oauth-starling", "uk", Yes},
		{"uk-oauth-all", "ob-monzo", "uk", No},
		{"uk-cs-mock", "mock", "uk", Yes},
		{"uk-cs-mock", "mock", "", Yes},
		{"uk-cs-mock", "ob-mock", "uk", No},
		{"mock", "mock", "uk", Yes},
		{"uk-cs-all", "mock", "uk", Unknown},
		{"de-xs2a-all", "xs2a-x", "de", Unknown},
		{"de-xs2a-all", "xs2a-x", "", Unknown},
		{"de-xs2a-all", "xs2a-x", "at", No},
		{"de-all", "xs2a-x", "de", Unknown},
		{"all-all", "xs2a-x", "de", Unknown},
		{"fr-stet-credit-agricole", "credit-agricole", "fr", Unknown},
		{"fr-stet-credit-agricole", "credit-agricole", "uk", No},
		{"uk-", "ob-monzo", "uk", No},
		{"", "ob-monzo", "uk", No},
		{"", "", "", No},
		{"uk-ob-all", "", "uk", No},
		{"uk-ob-monzo,uk-ob-hsbc", "ob-monzo", "uk", No},
	} {
		if got := Covers([]string{test.member}, Bank{ID: test.id, Country: test.country}); got != test.want {
			t.Errorf("%q has %s of %q: %d", test.member, test.id, test.country, got)
		}
	}
}

// TestCoversBest: the surest of several members decides, and without any TrueLayer does.
func TestCoversBest(t *testing.T) {
	monzo := Bank{ID: "ob-monzo", Country: "uk"}
	for _, test := range []struct {
		providers []string
		want      Coverage
	}{
		{nil, Unknown},
		{[]string{"uk-x-all", "uk-ob-all", "de-x"}, Yes},
		{[]string{"uk-oauth-all", "uk-x-all"}, Unknown},
		{[]string{"uk-oauth-all", "de-x-all"}, No},
	} {
		if got := Covers(test.providers, monzo); got != test.want {
			t.Errorf("%q: %d", test.providers, got)
		}
	}
}
