package block

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// config has a field of each kind.
type config struct {
	Word     string
	Secret   *string
	Words    []string
	Choices  []string
	Flag     bool
	Duration caddy.Duration
	Zero     *caddy.Duration
	Number   int
	Size     *int
	Raw      json.RawMessage
	Sub      *inner
}

type inner struct{ First, Word string }

func (c *config) options() Options {
	return Options{
		{Name: "word", Syntax: "<word>", Value: Word(&c.Word, "fallback"), Required: true},
		{Name: "secret", Syntax: "<secret>", Value: Secret(&c.Secret), Required: true},
		{Name: "words", Syntax: "<word...>", Value: Words(&c.Words, "a", "b")},
		{Name: "choices", Syntax: "<x|y...>", Value: Choices(&c.Choices, "x", "y")},
		{Name: "flag", Value: Flag(&c.Flag)},
		{Name: "duration", Syntax: "<duration>", Value: Duration(&c.Duration, time.Hour)},
		{Name: "zero", Syntax: "<duration>", Value: DurationOrZero(&c.Zero, time.Second)},
		{Name: "number", Syntax: "<number>", Value: Number(&c.Number, 2, 5)},
		{Name: "size", Syntax: "<size>", Value: Size(&c.Size, 1<<20, 7)},
		{Name: "sub", Syntax: "<first>", Value: SubWith(&c.Sub, func(i *inner) Value { return Word(&i.First, "") }, (*inner).options)},
	}
}

func (i *inner) options() Options {
	return Options{{Name: "word", Syntax: "<word>", Value: Word(&i.Word, "")}}
}

func readText(text string) (config, error) {
	var c config
	d := caddyfile.NewTestDispenser(text)
	d.Next()
	return c, c.options().Read(d, "test")
}

func TestRead(t *testing.T) {
	var c config
	d := caddyfile.NewTestDispenser("test {\n word w\n secret s\n words x y\n choices y x\n flag\n duration 90s\n zero 0\n number 3\n size 2KiB\n sub one {\n word two\n }\n}")
	d.Next()
	if err := c.options().Read(d, "test"); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(c) //nolint:gosec // no secret, the test's text
	want := `{"Word":"w","Secret":"s","Words":["x","y"],"Choices":["y","x"],"Flag":true,"Duration":90000000000,"Zero":0,"Number":3,"Size":2048,"Raw":null,"Sub":{"First":"one","Word":"two"}}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestReadErrors: an error names the option and where it stands, once, and repeats
// no argument that may be a secret.
func TestReadErrors(t *testing.T) {
	for text, want := range map[string]string{
		"test":                                      "word is missing: test needs word and secret",
		"test {\n word w\n}":                        "secret is missing",
		"test {\n nothing\n}":                       `unknown option "nothing": test has choices, duration, flag, number, secret, size, sub, word, words, zero`,
		"test {\n word w\n word w\n}":               "word is given twice",
		"test {\n word\n}":                          "word takes one argument",
		"test {\n word \"\"\n}":                     "word takes one argument",
		"test {\n secret hunter2 more\n}":           "secret takes one argument",
		"test {\n words\n}":                         "words takes one argument or more",
		"test {\n choices z\n}":                     `choices "z" is unknown: use x, y`,
		"test {\n choices x y x\n}":                 `choices: "x" is given twice`,
		"test {\n flag on\n}":                       "flag takes no argument",
		"test {\n duration soon\n}":                 `duration "soon" is not a duration such as 30m`,
		"test {\n duration -1s\n}":                  "duration has to be positive",
		"test {\n duration 99999h\n}":               "duration must not be longer than ten years",
		"test {\n number 1\n}":                      `number "1" is not a number of 2 or more`,
		"test {\n number x\n}":                      `number "x" is not a number of 2 or more`,
		"test {\n size 2MiB\n}":                     `size "2MiB" is not a size such as 64MiB`,
		"test {\n sub\n}":                           "sub takes one argument",
		"test {\n sub a {\n flag\n }\n}":            `unknown option "flag": sub has word`,
		"test {\n sub a {\n word a\n word b\n }\n}": "word is given twice",
	} {
		_, err := readText(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot error %v, want %q", text, err, want)
			continue
		}
		if strings.Count(err.Error(), "Testfile:") != 1 || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s\n%v", text, err)
		}
	}
}

func TestDefaultsAndChecks(t *testing.T) {
	var c config
	c.options().SetDefaults()
	if err := c.options().Check(); err != nil {
		t.Error(err)
	}
	got, err := json.Marshal(c) //nolint:gosec // no secret
	want := `{"Word":"fallback","Secret":null,"Words":["a","b"],"Choices":null,"Flag":false,"Duration":3600000000000,"Zero":1000000000,"Number":5,"Size":7,"Raw":null,"Sub":null}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
	c = config{Duration: -1, Number: 1, Choices: []string{"z"}}
	err = c.options().Check()
	for _, want := range []string{"duration has to be positive", "number 1 is not a number of 2 or more", `choices "z" is unknown`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestMissingModule: a module that the build does not have is named with what to do.
func TestMissingModule(t *testing.T) {
	options := Options{{Name: "store", Value: Module{
		Field: new(json.RawMessage), Namespace: "test.stores", Key: "type", What: "store", Example: "a",
		Remedies: map[string]string{"redis": "build it in"},
	}}}
	for text, want := range map[string]string{
		"test {\n store redis\n}": "module not registered: test.stores.redis: build it in",
		"test {\n store clay\n}":  "module not registered: test.stores.clay: check its name, or build Caddy with its package",
		"test {\n store\n}":       "store takes the name of a store, for example a",
	} {
		d := caddyfile.NewTestDispenser(text)
		d.Next()
		err := options.Read(d, "test")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "Testfile:") != 1 {
			t.Errorf("%s\n%v, want %q", text, err, want)
		}
	}
}
