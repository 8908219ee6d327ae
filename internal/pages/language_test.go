package pages

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var verbs = regexp.MustCompile(`%(\[\d\])?[a-z]`)

// TestTexts: each language has all texts, with the same parts and the same values.
func TestTexts(t *testing.T) {
	for _, l := range Languages() {
		for key, text := range English().texts {
			own, ok := l.texts[key]
			if !ok {
				t.Errorf("%s lacks %s", l.Tag, key)
				continue
			}
			for part, pair := range map[string][2]string{"title": {text.Title, own.Title}, "text": {text.Text, own.Text}, "action": {text.Action, own.Action}} {
				if (pair[0] == "") != (pair[1] == "") || pair[1] != strings.TrimSpace(pair[1]) {
					t.Errorf("%s: the %s of %s is %q", l.Tag, part, key, pair[1])
				}
				want, got := verbs.FindAllString(pair[0], -1), verbs.FindAllString(pair[1], -1)
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(want, got) {
					t.Errorf("%s: the %s of %s has the values %q, want %q", l.Tag, part, key, got, want)
				}
			}
			if l != English() && own == text && len(text.Text) > 20 {
				t.Errorf("%s: %s is English", l.Tag, key)
			}
		}
		for key := range l.texts {
			if _, ok := English().texts[key]; !ok {
				t.Errorf("%s has %s, which English has not", l.Tag, key)
			}
		}
		if len(l.months) != 12 {
			t.Errorf("%s has the months %q", l.Tag, l.months)
		}
	}
	if English().Text("nothing of ours") != (Text{}) {
		t.Error("a text for a key that there is not")
	}
}

// TestPreferred: a visitor gets the language that the browser prefers, if there is one, and
// English otherwise, whatever is sent.
func TestPreferred(t *testing.T) {
	for accept, want := range map[string]string{
		"": "en", "en-GB,en;q=0.9": "en", "tlh": "en", "*": "en", "x;q=": "en", strings.Repeat("de,", 200): "en", "ja, ko": "en",
		"de-AT,de;q=0.9,en;q=0.8": "de", "fr-CH, fr;q=0.9": "fr", "es-MX": "es", "it": "it", "pl-PL": "pl", "nl-BE": "nl", "pt-BR": "pt", "pt-PT": "pt",
		"ja, de;q=0.5": "de", "en;q=0.1, de;q=0.9": "de", "de;q=0, fr": "fr", "de\x00": "en",
	} {
		if got := preferred(accept).Tag; got != want {
			t.Errorf("%q: %s, want %s", accept, got, want)
		}
	}
	s, err := New(Settings{Language: "EN"})
	if err != nil || !s.IsFixed() || s.Language("de") != English() || len(s.Languages()) != 1 {
		t.Error(s, err)
	}
	if _, err := New(Settings{Language: "tlh"}); err == nil || !strings.Contains(err.Error(), "choose one of en") {
		t.Error(err)
	}
}

// TestDatesAndCountries: dates and countries have the words of the language.
func TestDatesAndCountries(t *testing.T) {
	l := English()
	if got := l.Date(time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)); got != "1 March 2026" {
		t.Error(got)
	}
	for code, want := range map[string]string{"uk": "United Kingdom", "de": "Germany", "": "Other countries", "zzz": "ZZZ", "x": "X"} {
		if got := l.Country(code); got != want {
			t.Errorf("%s: %q", code, got)
		}
	}
	for tag, want := range map[string]string{
		"de": "1. März 2026, Vereinigtes Königreich", "fr": "1 mars 2026, Royaume-Uni", "es": "1 de marzo de 2026, Reino Unido", "it": "1 marzo 2026, Regno Unito",
		"pl": "1 marca 2026, Wielka Brytania", "nl": "1 maart 2026, Verenigd Koninkrijk", "pt": "1 de março de 2026, Reino Unido",
	} {
		l := named(tag)
		if got := l.Date(time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)) + ", " + l.Country("uk"); got != want {
			t.Errorf("%s: %s", tag, got)
		}
	}
}
