package truelayer

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// responder writes the module's own responses.
type responder struct {
	pages    *pages.Site
	origins  *origins
	headers  *headerChecker
	observer *siteObserver
}

// seeOther redirects with 303, which turns any method into a GET and is not cached. It
// writes no body, since the location may contain a state.
func (a *responder) seeOther(w http.ResponseWriter, q *request, location string) {
	q.outcome = outcomeRedirected
	noStore(w)
	w.Header().Set("Location", location)
	a.headers.writeHeader(w, http.StatusSeeOther)
}

// prepare sets the header fields of a response that depend on the client. A page of an
// allowed origin may read the response. A client that sent Expect waits to learn
// whether to send its body; the module does not read it, but net/http would wait for
// it unless the connection is to be closed.
func (a *responder) prepare(w http.ResponseWriter, r *http.Request) {
	a.origins.allow(w.Header(), r)
	if len(r.Header["Expect"]) > 0 && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

// noStore keeps a response out of caches. It also hides the response's address, which on
// the callback contains the code, from the pages that the response leads to.
func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	addMissing(w.Header(), "Vary", "Cookie") // for caches configured to ignore no-store
}

// preflight answers a CORS preflight request.
func (a *responder) preflight(w http.ResponseWriter, r *http.Request, p *preflight) {
	a.origins.allowPreflight(w.Header(), r, p)
	a.headers.writeHeader(w, http.StatusNoContent)
}

// json writes a value in JSON.
func (a *responder) json(w http.ResponseWriter, status int, contentType string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.headers.writeHeader(w, status)
	_, _ = w.Write(body)
	return nil
}

// language returns the language of the pages for a visitor.
func (a *responder) language(q *request) *pages.Language {
	return a.pages.Language(q.Header.Get("Accept-Language"))
}

// draw writes a page for a person.
func (a *responder) draw(w http.ResponseWriter, q *request, status int, p pages.Content) error {
	body, policy, err := a.pages.Draw(a.language(q), p)
	switch {
	case err != nil && body == nil:
		return err
	case err != nil:
		a.observer.logger.Error("a template in template_dir cannot draw its page, and the module's own was shown: mend the template", zap.Error(err))
	}
	if !a.pages.IsFixed() {
		addMissing(w.Header(), "Vary", "Accept-Language")
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.headers.writeHeader(w, status)
	_, _ = w.Write(body)
	return nil
}

// prepareFormPage sets the header fields of a page with a form.
func prepareFormPage(w http.ResponseWriter) {
	// with no-referrer, browsers would post the form with "Origin: null"
	w.Header().Set("Referrer-Policy", "same-origin")
	// the page may say who the visitor is, which is nothing for the origins in allow_origins
	w.Header().Del("Access-Control-Allow-Origin")
	w.Header().Del("Access-Control-Allow-Credentials")
}

// sanitize shortens a text from outside and removes the characters that would change
// how the text around it is displayed.
func sanitize(s string) string {
	const maxRunes = 200
	s = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if runes := []rune(s); len(runes) > maxRunes {
		return string(runes[:maxRunes]) + "…"
	}
	return s
}
