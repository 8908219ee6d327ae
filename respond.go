package truelayer

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// responder writes the answers that are the module's own.
type responder struct {
	origins *origins
	fields  *replacedFields
}

// seeOther redirects with 303, which makes any method a GET and is not cached.
// It writes no body: a link that carries a state has no place in one.
func (a *responder) seeOther(w http.ResponseWriter, location string) {
	noStore(w)
	w.Header().Set("Location", location)
	a.fields.writeHeader(w, http.StatusSeeOther)
}

// prepare readies an answer of ours for who asks: for a page of an origin that may
// read it, and for a client that waits to be told whether to send its body. Nobody
// will read that, but net/http waits for it unless the connection is to be closed.
func (a *responder) prepare(w http.ResponseWriter, r *http.Request) {
	a.origins.allow(w.Header(), r)
	if len(r.Header["Expect"]) > 0 && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

// noStore marks an answer of ours: no cache keeps it, and no page that it
// leads to learns its address, which on the callback holds the code.
func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	addMissing(w.Header(), "Vary", "Cookie") // for caches that are told to keep it all the same
}

// preflight answers a CORS preflight request.
func (a *responder) preflight(w http.ResponseWriter, r *http.Request, p *preflight) {
	a.origins.allowPreflight(w.Header(), r, p)
	a.fields.writeHeader(w, http.StatusNoContent)
}

// json writes a value as JSON.
func (a *responder) json(w http.ResponseWriter, status int, contentType string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.fields.writeHeader(w, status)
	_, _ = w.Write(body)
	return nil
}

// page writes a page for a person.
func (a *responder) page(w http.ResponseWriter, status int, p pages.Page) error {
	body, policy, err := p.Draw()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.fields.writeHeader(w, status)
	_, _ = w.Write(body)
	return nil
}

// cut bounds a text that came from outside, and takes out what would change how
// the text around it is shown.
func cut(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
