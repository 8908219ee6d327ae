package pages

import (
	"encoding/base64"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// draw draws a page in English on a site without settings.
func draw(t *testing.T, p Content) (body, policy string) {
	t.Helper()
	s, err := New(Settings{Name: "app.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	drawn, policy, err := s.Draw(English(), p)
	if err != nil {
		t.Fatal(err)
	}
	return string(drawn), policy
}

// TestMessage: what is given is on the page, escaped, and what is not given leaves nothing
// behind.
func TestMessage(t *testing.T) {
	body, policy := draw(t, &Message{
		Key: "provider_error", Details: []Words{{"misplaced_paths", []any{"/<a>", "/b"}}}, Provider: `"quoted" & more`,
		Link: "https://app.example.com/login?return=%2Fa", Home: "https://app.example.com/", Support: Support{Reason: "a_reason", RequestID: "id-1"},
	})
	for _, want := range []string{
		"<title>Your bank could not be connected – app.example.com</title>", "<span>app.example.com</span>", "/&lt;a&gt;", "&#34;quoted&#34; &amp; more",
		`<a class="action" href="https://app.example.com/login?return=%2Fa" target="_top">Try again</a>`, `href="https://app.example.com/"`, "<dd>a_reason</dd>", "<dd>id-1</dd>", "0001-01-01 00:00:00 UTC",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if strings.Contains(body, "<script") || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("the policy is %s", policy)
	}
	body, policy = draw(t, &Message{Key: "login_required", Framed: true})
	if strings.Contains(policy, "frame-ancestors") {
		t.Errorf("in a frame: %s", policy)
	}
	for _, absent := range []string{"<a ", "<form", "<footer", `class="provider"`, "<header><img", "tries again"} {
		if strings.Contains(body, absent) {
			t.Errorf("%s is on a page without one: %s", absent, body)
		}
	}
	if body, _ = draw(t, &Message{Key: "sign_out", Post: "/do", Link: "/elsewhere"}); !strings.Contains(body, `<form method="post" action="/do">`) || strings.Contains(body, "elsewhere") {
		t.Errorf("the form is %s", body)
	}
	if body, _ = draw(t, &Message{Key: "name_mismatch", Link: "/name", Action: "correct_name"}); !strings.Contains(body, ">Correct your name</a>") {
		t.Errorf("the button is %s", body)
	}
}

// TestSamples: every page of every language has what it needs, nothing that its policy
// blocks, and a style that it allows.
func TestSamples(t *testing.T) {
	drawn := make(map[string]bool)
	s, err := New(Settings{Name: "Payroll <2004>", Accent: "7a1f4b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.templates.check(view{SiteName: s.name}, Languages()); err != nil {
		t.Error(err)
	}
	for _, l := range Languages() {
		for _, sample := range Samples(l) {
			body, policy, err := s.Draw(l, sample.Content)
			if err != nil {
				t.Fatal(err)
			}
			drawn[sample.Content.template()] = true
			_, css, _ := strings.Cut(string(body), "<style>")
			css, _, _ = strings.Cut(css, "</style>")
			if !strings.Contains(policy, "style-src "+hashSource(css)+";") || !strings.Contains(css, "--action: #7a1f4b") {
				t.Errorf("%s: the policy does not allow the page's own style", sample.Name)
			}
			if text := string(body); !strings.Contains(text, `<html lang="`+l.Tag+`">`) || !strings.Contains(text, "– Payroll &lt;2004&gt;</title>") || strings.Contains(text, "%!") || strings.Contains(text, "ZgotmplZ") {
				t.Errorf("%s in %s: %s", sample.Name, l.Tag, text)
			}
		}
	}
	if len(drawn) != len(pageFiles) {
		t.Errorf("there are samples of %v only", drawn)
	}
}

// TestTemplateDir: templates of the operator's replace single files, and what would not work
// is refused with its file and line.
func TestTemplateDir(t *testing.T) {
	name := func(form string) string {
		return `{{define "title"}}X{{end}}{{define "content"}}<main>` + form + `{{template "wrong" .}}</main>{{end}}`
	}
	const form = `<form method="post" action="{{.Page.Post}}"><input type="hidden" name="token" value="{{.Page.Token}}">{{template "fields" .}}</form><a href="{{.Page.Back}}">x</a>`
	for what, test := range map[string]struct {
		files map[string]string
		want  string // of the error; "" for none
	}{
		"one page":           {map[string]string{"name.html": name(form), "README.md": "mine"}, ""},
		"a style":            {map[string]string{"style.css": "body { color: red; }"}, ""},
		"nothing":            {map[string]string{"a.txt": ""}, "has none of the files style.css, layout.html"},
		"another name":       {map[string]string{"nam.html": ""}, "has nam.html, which is no page: the files are called style.css"},
		"an error":           {map[string]string{"name.html": "{{define \"content\"}}\n{{.Page.Post"}, "name.html:2"},
		"an unknown field":   {map[string]string{"name.html": name("{{.Page.Posts}}" + form)}, "can't evaluate field Posts"},
		"no token":           {map[string]string{"name.html": name(strings.Replace(form, "{{.Page.Token}}", "", 1))}, `name.html, or what it is made of, lacks "value=\"the-token\"" in the page "name"`},
		"a script":           {map[string]string{"name.html": name(form + "<script>1</script>")}, `has "<script"`},
		"a handler":          {map[string]string{"name.html": name(form + `<p onclick="x">`)}, `has "onclick="`},
		"a style in place":   {map[string]string{"name.html": name(form + `<p style="color:red">`)}, `has "style="`},
		"a picture":          {map[string]string{"name.html": name(form + `<img src="https://cdn.example/a.png">`)}, `has "src=\"https://"`},
		"a foreign style":    {map[string]string{"style.css": `@import "https://cdn.example/a.css";`}, `style.css has "@import"`},
		"a foreign font":     {map[string]string{"style.css": `@font-face { src: url("https://cdn.example/a.woff2"); }`}, "style.css has"},
		"a consent in parts": {map[string]string{"consent.html": `{{define "title"}}X{{end}}{{define "content"}}<form action="{{.Page.Post}}"></form>{{end}}`}, "consent.html, or what it is made of, lacks"},
		"too long":           {map[string]string{"style.css": strings.Repeat(" ", maxTemplate+1)}, "it has more than 262144 bytes"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range test.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := New(Settings{Name: "S", TemplateDir: dir, Language: "en"})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			body, policy, err := s.Draw(English(), Samples(English())[0].Content)
			if style, ok := test.files["style.css"]; err != nil || ok && (!strings.Contains(string(body), style) || !strings.Contains(policy, hashSource(style))) {
				t.Errorf("%v %s %s", err, policy, body)
			}
		})
	}
	if _, err := New(Settings{TemplateDir: filepath.Join(t.TempDir(), "gone")}); err == nil || !strings.Contains(err.Error(), "template_dir: open ") {
		t.Error(err)
	}
}

// TestTemplateThatFails: a template that fails only with what a visitor brings is replaced
// by the module's own.
func TestTemplateThatFails(t *testing.T) {
	dir := t.TempDir()
	own, _ := ownFiles.ReadFile("message.html")
	text := strings.Replace(string(own), "<main>", `<main>{{if eq .Page.Provider "odd"}}{{index .Page.Provider 99}}{{end}}`, 1)
	if err := os.WriteFile(filepath.Join(dir, "message.html"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Settings{Name: "S", TemplateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	body, policy, err := s.Draw(English(), &Message{Key: "provider_error", Provider: "odd"})
	if err == nil || !strings.Contains(string(body), "odd</blockquote>") || policy == "" {
		t.Errorf("%v %s %s", err, policy, body)
	}
}

// TestLogo: the picture is part of the page, and only a picture of a usual size is.
func TestLogo(t *testing.T) {
	dir := t.TempDir()
	for file, size := range map[string]int{"logo.SVG": 3, "logo.exe": 3, "big.png": maxLogo + 1} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]string{"logo.SVG": "", "logo.exe": "give a file that ends in .svg", "big.png": "more than 65536 bytes", "gone.png": "no such file", ".png": "no such file"} {
		s, err := New(Settings{Name: "S", Logo: filepath.Join(dir, file)})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
		if err == nil {
			body, policy, _ := s.Draw(English(), &Message{Key: "signed_out"})
			if !strings.Contains(string(body), `<img src="data:image/svg&#43;xml;base64,`+base64.StdEncoding.EncodeToString([]byte("xxx"))) && !strings.Contains(string(body), `<img src="data:image/svg+xml;base64,eHh4"`) || !strings.Contains(policy, "img-src 'self' data:") {
				t.Errorf("%s %s", policy, body)
			}
		}
	}
}

// TestAccent: a color that nobody could read is refused with one that can be, and in the
// dark it is as light as it has to be.
func TestAccent(t *testing.T) {
	for accent, want := range map[string]string{
		"": "", "red": "write it like 1652a8", "#12": "write it like", "1652a": "write it like", "#ffcc00": "choose a darker color, such as ", "#xyzxyz": "write it like",
		"#7a1f4b": "", "1652a8": "", "#036": "",
	} {
		style, err := accentStyle(accent)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", accent, err)
		}
		if err != nil {
			if c := regexp.MustCompile(`such as (\w{6})$`).FindStringSubmatch(err.Error()); c != nil {
				if _, err := accentStyle(c[1]); err != nil {
					t.Errorf("%s is advised in place of %s: %v", c[1], accent, err)
				}
			}
		}
		colors := regexp.MustCompile(`#\w{6}`).FindAllString(style, -1)
		for i, ground := range []color{lightCard, darkCard}[:len(colors)] {
			if c, _ := parseColor(colors[i]); c.contrast(ground) < leastContrast {
				t.Errorf("%s: %s on %s", accent, c, ground)
			}
		}
	}
	style, _ := ownFiles.ReadFile("style.css")
	for _, c := range []color{lightCard, darkCard} {
		if !strings.Contains(strings.ReplaceAll(string(style), "#fff;", "#ffffff;"), "--card: "+c.String()) {
			t.Errorf("style.css has another card than %s", c)
		}
	}
}

// shownOn returns what a visitor reads on a page.
func shownOn(body string) string {
	return html.UnescapeString(regexp.MustCompile(`(?s)<style>.*?</style>|<[^>]*>`).ReplaceAllString(body, ""))
}
