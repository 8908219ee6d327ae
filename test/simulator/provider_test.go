package simulator

import (
	"encoding/json"
	"image/png"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// What TrueLayer's API description says of a provider and of its inputs. The
// availability stands in its example only.
var (
	describedProvider  = []string{"provider_id", "display_name", "logo_url", "scopes", "country", "steps", "availability"}
	requiredOfProvider = []string{"provider_id", "display_name", "logo_url", "scopes", "country"}
	describedCountries = []string{"de", "es", "fr", "ie", "it", "lt", "pl", "uk"}
	describedScopes    = []string{
		"info", "accounts", "cards", "balance", "transactions", "direct_debits", "standing_orders", "offline_access",
	}
	describedInput = []string{
		"type", "is_sensitive", "values", "validations", "allowed_characters", "id", "display_name", "help_text", "mandatory",
	}
	requiredOfInput = []string{"type", "id", "display_name", "help_text", "mandatory"}
)

type object = map[string]any

// providerObjects is what /api/providers answers, as its reader finds it.
func (f *fixture) providerObjects(query string) map[string]object {
	f.t.Helper()
	var list []object
	f.send(http.MethodGet, "/api/providers"+query, "", "").decode(f.t, &list)
	byID := make(map[string]object, len(list))
	for _, p := range list {
		byID[p["provider_id"].(string)] = p
	}
	if len(byID) != len(list) {
		f.t.Errorf("%q: a provider comes twice", query)
	}
	return byID
}

// agrees checks an object against the names in a schema.
func agrees(t *testing.T, o object, described, required []string) {
	t.Helper()
	for name := range o {
		if !slices.Contains(described, name) {
			t.Errorf("%s is not described: %v", name, o)
		}
	}
	for _, name := range required {
		if o[name] == nil {
			t.Errorf("%s is missing: %v", name, o)
		}
	}
}

func TestProvidersAreAsDescribed(t *testing.T) {
	f := start(t)
	list := f.providerObjects("")
	countries := map[string]int{}
	for id, p := range list {
		agrees(t, p, describedProvider, requiredOfProvider)
		if !providerID.MatchString(id) || !slices.Contains(describedCountries, p["country"].(string)) {
			t.Errorf("%v", p)
		}
		for _, scope := range p["scopes"].([]any) {
			if !slices.Contains(describedScopes, scope.(string)) {
				t.Errorf("%s: scope %v", id, scope)
			}
		}
		countries[p["country"].(string)]++
	}
	for _, country := range []string{"uk", "ie", "fr", "de", "es"} {
		if countries[country] < 4 {
			t.Errorf("%d banks in %s", countries[country], country)
		}
	}
	if len(list) != len(banks) || len(list) < 30 {
		t.Errorf("%d providers of %d banks", len(list), len(banks))
	}
}

// TestStepsAreAsDescribed: steps come in two forms, the example's and the schema's.
func TestStepsAreAsDescribed(t *testing.T) {
	f := start(t)
	var choices, texts, secrets, nested, flat int
	for _, p := range f.providerObjects("") {
		steps, _ := p["steps"].([]any)
		for _, step := range steps {
			fields := []any{step}
			if inner, ok := step.(object)["fields"].([]any); ok {
				agrees(t, step.(object), []string{"title", "fields"}, []string{"title", "fields"})
				fields = inner
				nested++
			} else {
				flat++
			}
			for _, field := range fields {
				field := field.(object)
				agrees(t, field, describedInput, requiredOfInput)
				switch {
				case field["values"] != nil:
					choices++
					for _, value := range field["values"].([]any) {
						agrees(t, value.(object), []string{"value", "display_name"}, []string{"value", "display_name"})
					}
				case field["is_sensitive"] == true:
					secrets++
				default:
					texts++
				}
			}
		}
	}
	for kind, n := range map[string]int{"choices": choices, "texts": texts, "sensitive texts": secrets, "nested": nested, "flat": flat} {
		if n == 0 {
			t.Errorf("no bank has %s", kind)
		}
	}
}

func TestProvidersAreSelected(t *testing.T) {
	f := start(t)
	count := func(keep func(bank) bool) (n int) {
		for _, b := range banks {
			if keep(b) {
				n++
			}
		}
		return n
	}
	in := func(countries ...string) int {
		return count(func(b bank) bool { return slices.Contains(countries, b.Country) })
	}
	for query, want := range map[string]int{
		"?country=uk":              in("uk"),
		"?country=uk+ie":           in("uk", "ie"),
		"?country=uk%20ie":         in("uk", "ie"),
		"?country=lt":              0,
		"?country=fr&scopes=info":  in("fr"),
		"?country=fr&scopes=cards": 1,
		"?country=uk&scopes=cards": in("uk"),
		"?scopes=accounts+unheard": 0,
		"?scopes=info+accounts":    len(banks),
		"?clientId=" + testID:      len(banks),
		"?clientId=nobody":         0,
	} {
		if got := len(f.providerObjects(query)); got != want {
			t.Errorf("%q: %d providers, want %d", query, got, want)
		}
	}
}

func TestOneBankIsUnhealthy(t *testing.T) {
	f := start(t)
	unhealthy := func() (ids []string) {
		for id, p := range f.providerObjects("") {
			if p["availability"].(object)["recommended_status"] != "healthy" {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		return ids
	}
	if got := unhealthy(); !slices.Equal(got, []string{unhealthyBank}) {
		t.Errorf("by default: %v", got)
	}
	f.send(http.MethodPut, "/simulator/settings", jsonType, `{"unhealthy":["mock","ob-faro"]}`)
	if got := unhealthy(); !slices.Equal(got, []string{"mock", "ob-faro"}) {
		t.Errorf("as set: %v", got)
	}
	f.Set(func(s *Settings) { s.Unhealthy = nil })
	if got := unhealthy(); len(got) != 0 {
		t.Errorf("none set: %v", got)
	}
}

// TestARefusedSettingChangesNothing: the list is decoded in place otherwise.
func TestARefusedSettingChangesNothing(t *testing.T) {
	f := start(t)
	f.send(http.MethodPut, "/simulator/settings", jsonType, `{"unhealthy":["mock"],"refused":"never"}`)
	if got := f.settings.Unhealthy; !slices.Equal(got, []string{unhealthyBank}) {
		t.Errorf("%v", got)
	}
}

func TestLogos(t *testing.T) {
	s, err := New(Config{
		Clients: []Client{{ID: testID, Secret: testSecret, RedirectURIs: []string{testRedirect}}},
		Issuer:  "https://issuer.example.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	f := startWith(t, s, nil)
	images := 0
	for id, p := range f.providerObjects("") {
		logo, own := strings.CutPrefix(p["logo_url"].(string), f.url)
		r := f.send(http.MethodGet, logo, "", "")
		switch mediaType := r.header.Get("Content-Type"); {
		case !own || r.status != http.StatusOK:
			t.Errorf("%s: %s, %d", id, p["logo_url"], r.status)
		case mediaType == "image/png":
			if _, err := png.Decode(strings.NewReader(r.body)); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			images++
		case mediaType != "image/svg+xml" || !strings.HasPrefix(r.body, "<svg ") || !strings.HasSuffix(r.body, "</text></svg>"):
			t.Errorf("%s: %s %s", id, mediaType, r.body)
		}
	}
	if images != 1 {
		t.Errorf("%d logos are PNG, want 1", images)
	}
	for path, want := range map[string]int{
		"/logos/ob-made-up.svg": 200, "/logos/mock.png": 404, "/logos/mock": 404, "/logos/" + bankWithPNG + ".svg": 404,
		"/logos/.svg": 404, "/logos/A.svg": 404, "/logos/%3Cb%3E.svg": 404,
	} {
		if r := f.send(http.MethodGet, path, "", ""); r.status != want {
			t.Errorf("%s: %d, want %d", path, r.status, want)
		}
	}
}

func TestLogosFailAndCount(t *testing.T) {
	f := start(t)
	f.Fail(Logo, Fault{Times: 1, Status: 503})
	f.Fail(Logo, Fault{Times: 1, Huge: true})
	f.Fail(Logo, Fault{Times: 1, ContentType: "text/html", Body: "<h1>Gone</h1>"})
	replies := make([]reply, 4)
	for i := range replies {
		replies[i] = f.send(http.MethodGet, "/logos/mock.svg", "", "")
	}
	if r := replies[0]; r.status != 503 || json.Valid([]byte(r.body)) {
		t.Errorf("%+v", r)
	}
	if r := replies[1]; r.status != 200 || len(r.body) < hugeSize || r.header.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("%d, %d bytes, %v", r.status, len(r.body), r.header)
	}
	if r := replies[2]; r.status != 200 || r.header.Get("Content-Type") != "text/html" {
		t.Errorf("%+v", r)
	}
	if r := replies[3]; r.status != 200 || !strings.HasPrefix(r.body, "<svg") {
		t.Errorf("%+v", r)
	}
	if n := f.Calls(Logo); n != 4 {
		t.Errorf("%d calls counted", n)
	}
}
