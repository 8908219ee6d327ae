package truelayer

import (
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/readings"
)

// protection decides which requests are protected.
type protection struct{ match caddyhttp.MatcherSets }

// covers reports whether a request is protected. It asks the matcher about the request
// as it is, as it arrived if an earlier handler rewrote it, and in every way in which an
// application may read either. One match is enough.
func (p protection) covers(q *request) (bool, error) {
	r, original := q.Request, &q.original
	match, err := p.match.AnyMatchWithError(r)
	if err != nil || match {
		return match, err
	}
	others, known := appendReadings(nil, originalRequest{r.Method, r.URL, r.RequestURI})
	if rewritten := r.Method != original.method || *r.URL != *original.url; rewritten && known {
		others = append(others, reading{original.method, *original.url, original.target})
		others, known = appendReadings(others, *original)
	}
	if !known || len(others) == 0 {
		return !known, nil
	}
	// change the request itself: placeholders in a matcher refer to the request that
	// Caddy started with, which shares its URL with the copy that tracing passes on
	set := func(f reading) { r.Method, *r.URL, r.RequestURI = f.method, f.url, f.target }
	current := reading{r.Method, *r.URL, r.RequestURI}
	defer set(current)
	for _, f := range others {
		set(f)
		if match, err = p.match.AnyMatchWithError(r); err != nil || match {
			return match, err
		}
	}
	// match the request itself again, so that the placeholders that matchers set are
	// those of the request
	set(current)
	return p.match.AnyMatchWithError(r)
}

// reading is a request as an application may read it, for a matcher.
type reading struct {
	method string
	url    url.URL
	target string
}

// appendReadings appends the other ways in which an application may read a request. It
// returns false if they are not all known, so that the request must be protected.
func appendReadings(others []reading, r originalRequest) ([]reading, bool) {
	urls, known := readings.Of(r.url)
	for _, u := range urls {
		others = append(others, reading{r.method, u, r.target})
	}
	return others, known
}

// homeOf returns the start of a site, "" if it is protected or nobody can tell: a link
// to it would lead to a bank.
func homeOf(p protection, origin string) (home string) {
	defer func() {
		if recover() != nil { // a matcher that wants a real request
			home = ""
		}
	}()
	r, err := http.NewRequest(http.MethodGet, origin+"/", http.NoBody)
	if err != nil {
		return ""
	}
	q := newRequest(caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil), new(cookieNames), time.Time{})
	if protected, err := p.covers(&q); protected || err != nil {
		return ""
	}
	return origin + "/"
}
