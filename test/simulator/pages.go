package simulator

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// The pages contain style and submit, so they load nothing else. Their policy
// allows the two by digest.
var (
	style  = pageFile("style.css")
	submit = pageFile("submit.js")
	pages  = template.Must(template.New("").Funcs(template.FuncMap{
		"style":  func() template.HTML { return template.HTML("<style>" + style + "</style>") },    //nolint:gosec // our own file
		"submit": func() template.HTML { return template.HTML("<script>" + submit + "</script>") }, //nolint:gosec // our own file
	}).ParseFS(pageFiles, "pages/*.html"))
)

func pageFile(name string) string {
	b, err := pageFiles.ReadFile("pages/" + name)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// page is the data of the templates. Most of it is for the pages of steps.
type page struct {
	Title    string
	Alert    string
	Session  string // keeps the forms in their dialog
	Client   string
	Bank     *bank
	Banks    []bank
	Holder   string
	Asked    []string
	HowLong  string
	Accounts []account
	Failures []string
	Target   string
	Fields   []field
}

type field struct{ Name, Value string }

func (s *Simulator) stepPage(w http.ResponseWriter, d *dialog, step, alert string) {
	p := page{
		Alert:   alert,
		Session: d.id,
		Client:  d.link.client.Name,
		Bank:    d.bank,
	}
	switch step {
	case stepBank:
		p.Title, p.Banks = "Choose your bank", offered(d.link.providers)
	case stepConsent:
		p.Title, p.Asked = "Share your data", asked(d.link.scopes)
		s.mu.Lock()
		p.HowLong = howLong(s.settings.ConsentLifetime)
		s.mu.Unlock()
	case stepLogin:
		p.Title = "Log in to " + d.bank.Name
		p.Failures = slices.Sorted(maps.Keys(loginFailures))
	case stepAccounts:
		p.Title, p.Accounts = "Choose accounts", accountsOf(*d.person, *d.bank)
		p.Holder = d.person.name
	}
	status := http.StatusOK
	if alert != "" {
		status = http.StatusUnprocessableEntity
	}
	render(w, status, step+".html", p, "")
}

// asked returns the texts of scopes, each of them once.
func asked(scopes []string) []string {
	var words []string
	for _, scope := range scopes {
		if text := knownScopes[scope]; text != "" && !slices.Contains(words, text) {
			words = append(words, text)
		}
	}
	return words
}

func howLong(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}

// answer sends the user back to the application with a code or an error.
func (l *authLink) answer(w http.ResponseWriter, fields url.Values) {
	if !l.formPost {
		seeOther(w, l.back(fields))
		return
	}
	p := page{Title: "Going back", Client: l.client.Name, Target: l.redirectURI}
	for _, name := range []string{"code", "scope", "error", "error_description", "state"} {
		if fields.Has(name) {
			p.Fields = append(p.Fields, field{name, fields.Get(name)})
		}
	}
	render(w, http.StatusOK, "back.html", p, submit)
}

func errorPage(w http.ResponseWriter, status int, text string) {
	render(w, status, "error.html", page{Title: "This login cannot go on", Alert: text}, "")
}

func render(w http.ResponseWriter, status int, name string, p page, script string) {
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name, p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	guardPage(w, script)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// guardPage sets the headers of every page and redirect. The policy has no
// form-action, because Chromium applies it to the redirect after a form, and that
// redirect leads to the application.
func guardPage(w http.ResponseWriter, script string) {
	policy := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; img-src data:; style-src " + digest(style)
	if script != "" {
		policy += "; script-src " + digest(script)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
}
