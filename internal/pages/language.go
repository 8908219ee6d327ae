package pages

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// Text is the text of a page, or of a part of one.
type Text struct {
	Title string `json:"title,omitempty"`
	Text  string `json:"text,omitempty"`
	// Action is the label of a button or a link.
	Action string `json:"action,omitempty"`
}

// Words are a text's sentences with the values that they name.
type Words struct {
	Key    string
	Values []any
}

// Language is a language that the pages speak. Its texts are a file in the folder texts.
type Language struct {
	// Tag is the language as in BCP 47.
	Tag     string
	texts   map[string]Text
	months  []string
	regions display.Namer
}

var (
	//go:embed texts/*.json
	textFiles embed.FS

	// tags are the languages, the one for everybody else first.
	tags = []language.Tag{
		language.English, language.German, language.French, language.Spanish, language.Italian, language.Polish, language.Dutch, language.Portuguese,
	}
	// languages are those of the tags.
	languages = readLanguages()
	matcher   = language.NewMatcher(tags)
)

func readLanguages() (all []*Language) {
	for _, tag := range tags {
		l := &Language{Tag: tag.String(), regions: display.Regions(tag)}
		data, err := textFiles.ReadFile("texts/" + l.Tag + ".json")
		if err == nil {
			err = json.Unmarshal(data, &l.texts)
		}
		if err != nil {
			panic(err) // the files are embedded, and a test reads them
		}
		l.months = strings.Fields(l.Text("months").Text)
		all = append(all, l)
	}
	return all
}

// English returns the language of what programs read.
func English() *Language { return languages[0] }

// Languages returns the languages that the pages speak.
func Languages() []*Language { return languages }

// maxAcceptLanguage is how many bytes of an Accept-Language field are read. Browsers send
// a few dozen.
const maxAcceptLanguage = 256

// preferred returns the language that fits an Accept-Language field best.
func preferred(accept string) *Language {
	if len(accept) > maxAcceptLanguage {
		return English()
	}
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return English()
	}
	_, i, _ := matcher.Match(wanted...)
	return languages[i]
}

// named returns the language with a tag, nil if the pages do not speak it.
func named(tag string) *Language {
	for _, l := range languages {
		if strings.EqualFold(l.Tag, tag) {
			return l
		}
	}
	return nil
}

// Text returns the text with the key, which is a reason code, the name of a page or that of
// a part of one. It returns the zero Text if there is none.
func (l *Language) Text(key string) Text { return l.texts[key] }

// Say returns the sentences of a text, with the values that they name.
// A time is said as its date.
func (l *Language) Say(key string, values ...any) string {
	if len(values) == 0 {
		return l.texts[key].Text
	}
	said := slices.Clone(values)
	for i, value := range said {
		if t, ok := value.(time.Time); ok {
			said[i] = l.Date(t)
		}
	}
	return fmt.Sprintf(l.texts[key].Text, said...)
}

// Words returns what the words say.
func (l *Language) Words(w Words) string { return l.Say(w.Key, w.Values...) }

// Date returns the day of a time in words, in UTC.
func (l *Language) Date(t time.Time) string {
	t = t.UTC()
	return l.Say("date", t.Day(), l.months[t.Month()-1], t.Year())
}

// Moment returns a time in words, in UTC.
func (l *Language) Moment(t time.Time) string {
	return l.Say("moment", t, t.UTC().Format("15:04"))
}

// Country returns the name of a country, by the code that TrueLayer uses: that of ISO 3166,
// but "uk". A code that is not known is its own name.
func (l *Language) Country(code string) string {
	switch code {
	case "":
		return l.Say("other_countries")
	case "uk":
		code = "gb"
	}
	code = strings.ToUpper(code)
	region, err := language.ParseRegion(code)
	if err != nil || !region.IsCountry() {
		return code
	}
	return l.regions.Name(region)
}
