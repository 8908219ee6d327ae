package pages

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"time"
)

// Sample is a page with content that somebody has made up.
type Sample struct {
	Name    string
	Content Content
	// needs is what has to be on the page, or it would be of no use.
	needs []string
}

// Samples returns pages of every kind, in all that they can say, in a language.
func Samples(l *Language) []Sample {
	return append(messageSamples(), consentSample(l), bankSample(l), connectionSample(l),
		Sample{"no banks", &Banks{Other: "/truelayer/login?dialog=1", Home: "/"}, []string{`href="/truelayer/login?dialog=1"`}},
		Sample{"name", &Name{
			Form: Form{Post: "/truelayer/name", Token: "the-token", Fields: []Field{{Name: "name", Key: "field_name", Type: "text", Required: true, Value: "Ada", Problem: "problem_name"}}},
			Back: "/account", SignOut: "/truelayer/logout",
		}, []string{`action="/truelayer/name"`, `value="the-token"`, `name="name"`, `href="/account"`, l.Say("problem_name")}})
}

func messageSamples() []Sample {
	support := Support{"provider_error", "0af7651916cd43dd8448eb211c80319c", time.Date(2026, time.November, 28, 9, 30, 0, 0, time.UTC)}
	return []Sample{
		{"message", &Message{
			Key: "provider_error", Details: []Words{{"misplaced_paths", []any{"/truelayer", "/other"}}}, Provider: "The bank said no.",
			Link: "https://app.example.com/truelayer/login", Home: "https://app.example.com/", Support: support,
		}, []string{`href="https://app.example.com/truelayer/login"`, "The bank said no.", support.RequestID}},
		{"message with a form", &Message{Key: "sign_out", Post: "/truelayer/logout", Home: "/"}, []string{`method="post"`, `action="/truelayer/logout"`}},
		{"message that retries", &Message{Key: "store_unavailable", Retries: true, Support: support}, []string{`href=""`}},
		{"message about a form", &Message{Key: "login_required", Details: []Words{{Key: "form_again"}}, Link: "/truelayer/login?tab=1", Action: "form_again", NewTab: true}, []string{`target="_blank"`}},
		{"message in a frame", &Message{Key: "login_required", Link: "https://app.example.com/truelayer/login", Support: support, Framed: true}, []string{`target="_top"`}},
	}
}

func consentSample(l *Language) Sample {
	text := l.ConsentText("Example Ltd", "To check that the account is yours.", "https://app.example.com/terms", []string{"verification", "info", "offline_access"}, true)
	return Sample{"consent", &Consent{
		Controller: "Example Ltd", Bank: "Mock Bank", Logo: "/truelayer/banks?logo=mock", Text: text, Known: "Ada Lovelace", Failure: "bank_link_unavailable",
		Support: Support{"bank_link_unavailable", "0af7651916cd43dd8448eb211c80319c", time.Date(2026, time.November, 28, 9, 30, 0, 0, time.UTC)},
		Form: Form{Post: "/truelayer/consent", Token: "the-token", Fields: []Field{
			{Name: "email", Key: "field_email", Type: "email", Autocomplete: "email", Autocapitalize: "none", Required: true, Value: "ada", Problem: "problem_email"},
			{Name: "step:branch", Label: "Branch", Help: "Where your account is", Options: []Option{{"a", "North"}, {"b", "South"}}, Value: "b"},
		}},
		OtherBank: "/truelayer/banks", Cancel: "/truelayer/consent?decline=1",
	}, append([]string{
		`action="/truelayer/consent"`, `value="the-token"`, `name="email"`, `name="step:branch"`, `href="/truelayer/consent?decline=1"`,
		l.Say("bank_link_unavailable"), l.Say("consent_known", "Ada Lovelace"),
	}, strings.Split(strings.ReplaceAll(text.String(), " https://", "\nhttps://"), "\n")...)}
}

func connectionSample(l *Language) Sample {
	at := time.Date(2026, time.November, 28, 9, 30, 0, 0, time.UTC)
	return Sample{"connection", &Connection{
		Bank: "Mock Bank", Scopes: []string{"verification", "offline_access"}, Since: at, Until: at.AddDate(0, 0, 5), LastUsed: at, Session: "0af7651916cd43dd",
		Renew: "/truelayer/renew", Disconnect: "/truelayer/disconnect", SignOut: "/truelayer/logout", Home: "/",
	}, []string{
		"Mock Bank", l.Say("scope_verification"), l.Date(at.AddDate(0, 0, 5)), `action="/truelayer/renew"`, `action="/truelayer/disconnect"`, `name="session" value="0af7651916cd43dd"`, `action="/truelayer/logout"`,
	}}
}

func bankSample(l *Language) Sample {
	mock := Bank{Name: "Mock Bank", Link: "/truelayer/login?provider=mock", Logo: "/truelayer/banks?logo=mock", Key: "mock bank"}
	return Sample{"banks", &Banks{
		Search: "o", Country: "uk", Address: "/truelayer/banks", ReturnTo: "/account", Last: &mock, Other: "/truelayer/login?dialog=1", Home: "/",
		Countries: []Country{{l.Say("all_countries"), "/truelayer/banks", false}, {l.Country("uk"), "/truelayer/banks?country=uk", true}},
		Groups: []BankGroup{
			{l.Country("uk"), "uk", []Bank{mock, {Name: "Bank of Oak", Key: "bank of oak"}}},
			{l.Country("de"), "de", []Bank{{Name: "Eiche", Link: "/truelayer/login?provider=oak", Key: "eiche", Hidden: true}}},
		},
	}, []string{`href="/truelayer/login?provider=mock"`, "Bank of Oak", `href="/truelayer/login?dialog=1"`, `name="q"`}}
}

// blocked matches what the pages' Content-Security-Policy blocks.
var blocked = regexp.MustCompile(`(?i)<script|<link\b|<iframe|<object|<embed|\sstyle\s*=|\son[a-z]+\s*=|src\s*=\s*["']?(https?:)?//|url\(\s*["']?(https?:)?//|@import`)

var spaces = regexp.MustCompile(`\s+`)

// check draws every page of a site with the operator's templates.
func (t templates) check(v view, languages []*Language) error {
	if found := blocked.FindString(t.style); found != "" {
		return fmt.Errorf("template_dir: %s has %q: browsers would block it, since the pages load nothing from elsewhere", styleFile, found)
	}
	for _, l := range languages {
		for _, sample := range Samples(l) {
			v.Language, v.Page = l, sample.Content
			body, _, err := t.draw(v)
			if err != nil {
				return fmt.Errorf("template_dir: %w", err)
			}
			text := string(body)
			file := sample.Content.template() + ".html"
			own := strings.NewReplacer("<script>"+filterScript+"</script>", "", "<style>"+t.style+"</style>", "").Replace(text)
			if found := blocked.FindString(own); found != "" {
				return fmt.Errorf("template_dir: %s, or what it is made of, has %q: browsers would block it, since the pages run no script of others, load nothing from elsewhere, and have all their style in %s", file, strings.TrimSpace(found), styleFile)
			}
			if missing := lacks(text, sample.needs); missing != "" {
				return fmt.Errorf("template_dir: %s, or what it is made of, lacks %q in the page %q: it has to show what this module's own template shows", file, missing, sample.Name)
			}
		}
	}
	return nil
}

// lacks returns the first of the needed texts that a page does not have, "" if it has all.
func lacks(page string, needed []string) string {
	shown := spaces.ReplaceAllString(html.UnescapeString(page), " ")
	for _, text := range needed {
		if !strings.Contains(shown, text) {
			return text
		}
	}
	return ""
}
