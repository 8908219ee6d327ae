package truelayer

import "testing"

func TestHasHandler(t *testing.T) {
	for raw, want := range map[string]bool{
		`{"handler":"authentication"}`:                                                     true,
		"{\n\t\"handler\" : \"authentication\"\n}":                                         true,
		`{"handler": "subroute", "routes": [{"handle": [{"handler": "authentication"}]}]}`: true,
		`{"handler": "authentication_of_others"}`:                                          false,
		`{"handler": "headers"}`:                                                           false,
		`{"handler"`:                                                                       false,
	} {
		if got := hasHandler([]byte(raw), "authentication"); got != want {
			t.Errorf("%s: %v, want %v", raw, got, want)
		}
	}
}
