package tlapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// branch is a choice as TrueLayer's example has it, and wantBranch is what it is read as.
const branch = `{"type":"SingleChoiceField","values":[{"value":"alsace","display_name":"Alsace"},{"value":"anjou"}],
	"id":"branch-name","display_name":"Branch Name","help_text":"Please select a branch","mandatory":true}`

var wantBranch = Step{
	ID: "branch-name", Name: "Branch Name", HelpText: "Please select a branch", Mandatory: true,
	Values: []Value{{"alsace", "Alsace"}, {"anjou", "anjou"}},
}

// TestSteps: both forms are read, and what is not understood counts as text that may be a
// secret.
func TestSteps(t *testing.T) {
	number := Step{ID: "number", Name: "Number", Mandatory: true}
	secret := number
	secret.Sensitive = true
	for name, test := range map[string]struct {
		steps  string
		want   []Step
		dialog bool
	}{
		"null":               {`null`, nil, false},
		"none":               {`[]`, nil, false},
		"nested":             {`[{"title":"OAuthRedirect","fields":[` + branch + `]}]`, []Step{wantBranch}, false},
		"nested without any": {`[{"title":"OAuthRedirect","fields":[]}]`, nil, false},
		"nested and flat":    {`[{"title":"x","fields":[` + branch + `]},` + branch + `]`, []Step{wantBranch, wantBranch}, false},
		"flat":               {`[` + strings.Replace(branch, "SingleChoiceField", "Single Choice Input", 1) + `]`, []Step{wantBranch}, false},
		"text":               {`[{"type":"FreeInput","id":"number","display_name":"Number","mandatory":true,"is_sensitive":false}]`, []Step{number}, true},
		"secret":             {`[{"type":"Free Input","id":"number","display_name":"Number","mandatory":true,"is_sensitive":true}]`, []Step{secret}, true},
		"text of whatever":   {`[{"type":"FreeInput","id":"number","display_name":"Number","mandatory":true}]`, []Step{secret}, true},
		"odd sensitivity":    {`[{"type":"FreeInput","id":"number","display_name":"Number","is_sensitive":"false"}]`, []Step{secret}, true},
		"another type":       {`[{"type":"Fingerprint","id":"number","display_name":"Number"}]`, []Step{secret}, true},
		"optional":           {`[{"type":"FreeInput","id":"a","mandatory":false,"is_sensitive":false}]`, []Step{{ID: "a"}}, true},
		"no array":           {`{"title":"x"}`, []Step{unknownStep}, true},
		"a text":             {`"password"`, []Step{unknownStep}, true},
		"odd entries":        {`[1,null]`, []Step{unknownStep, unknownStep}, true},
		"without fields":     {`[{"title":"OAuthRedirect"}]`, []Step{unknownStep}, true},
		"odd fields":         {`[{"title":"x","fields":{}},{"fields":null}]`, []Step{unknownStep, unknownStep}, true},
		"fields in fields":   {`[{"fields":[{"fields":[]}]}]`, []Step{unknownStep}, true},
		"both forms in one":  {`[{"type":"FreeInput","id":"a","fields":[]}]`, []Step{unknownStep}, true},
		"without an id":      {`[{"type":"FreeInput","is_sensitive":false}]`, []Step{unknownStep}, true},
		"too many":           {`[` + strings.TrimSuffix(strings.Repeat(`{"fields":[`+branch+`]},`, maxSteps+1), ",") + `]`, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := readProvider(json.RawMessage(`{"provider_id":"a","steps":` + test.steps + `}`))
			if name != "too many" && !reflect.DeepEqual(p.Steps, test.want) {
				t.Errorf("%+v", p.Steps)
			}
			if p.NeedsDialog() != test.dialog || len(p.Steps) > maxSteps+1 {
				t.Errorf("needs the dialog: %v, %d steps", p.NeedsDialog(), len(p.Steps))
			}
		})
	}
}

// TestOddChoices: a choice is one only if all of it is understood. One that may be for a
// secret needs the dialog.
func TestOddChoices(t *testing.T) {
	for name, members := range map[string]string{
		"sensitive":          `"values":[{"value":"a"}],"is_sensitive":true`,
		"oddly sensitive":    `"values":[{"value":"a"}],"is_sensitive":"no"`,
		"validated":          `"values":[{"value":"a"}],"validations":[{"regex":"^[0-9]+$"}]`,
		"without values":     `"values":[]`,
		"values are null":    `"values":null`,
		"values are missing": `"mandatory":true`,
		"values are texts":   `"values":["a","b"]`,
		"a value is missing": `"values":[{"value":"a"},{"display_name":"B"}]`,
		"a value is null":    `"values":[{"value":"a"},null]`,
		"a value is odd":     `"values":[{"value":7}]`,
		"very many":          `"values":[` + strings.TrimSuffix(strings.Repeat(`{"value":"a"},`, maxValues+1), ",") + `]`,
	} {
		p := readProvider(json.RawMessage(`{"provider_id":"a","steps":[{"type":"SingleChoiceField","id":"x",` + members + `}]}`))
		if len(p.Steps) != 1 || !p.NeedsDialog() || !p.Steps[0].Sensitive {
			t.Errorf("%s: %+v", name, p.Steps)
		}
	}
}

// TestHugeProviders: a list of very many entries is read without much more memory than
// it has itself.
func TestHugeProviders(t *testing.T) {
	body := `[` + strings.Repeat(`0,`, maxProviders/2-20) + `{"provider_id":"ob-b"}]`
	got, err := list(t, http.StatusOK, body)
	if err != nil || len(got.Providers) != 1 || cap(got.Providers) > 10 {
		t.Errorf("%d, room for %d, %v", len(got.Providers), cap(got.Providers), err)
	}
}

// FuzzProviders: whatever the list is, each provider has an id that can be logged, and
// one needs the dialog unless each of its steps is a choice that is understood.
func FuzzProviders(f *testing.F) {
	for _, seed := range []string{`[]`, `{}`, `[{"provider_id":"a","steps":[{"fields":[` + branch + `]}]}]`, `{"provider_id":"a","steps":[` + branch + `,7]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		providers, err := readProviders(body)
		if (err == nil) != (providers != nil) {
			t.Fatal(providers, err)
		}
		for _, p := range providers {
			if p.ID == "" || fmt.Sprintf("%q", p.ID) != `"`+p.ID+`"` {
				t.Errorf("id %q", p.ID)
			}
			for _, s := range p.Steps {
				if understood := s.ID != "" && len(s.Values) > 0 && !s.Sensitive; !understood && !p.NeedsDialog() {
					t.Errorf("no dialog for %+v", s)
				}
			}
		}
	})
}
