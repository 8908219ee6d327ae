package truelayer

import (
	"net/url"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/readings"
)

// protection is what a matcher protects.
type protection struct{ match caddyhttp.MatcherSets }

// covers reports whether a request is protected. It asks the matcher about the
// request as it is, as it arrived if an earlier handler rewrote it, and as
// applications may read either: any match protects.
func (p protection) covers(q *request) (bool, error) {
	r, original := q.Request, &q.original
	match, err := p.match.AnyMatchWithError(r)
	if err != nil || match {
		return match, err
	}
	ways, clear := appendReadings(nil, originalRequest{r.Method, r.URL, r.RequestURI})
	if rewritten := r.Method != original.method || *r.URL != *original.url; rewritten && clear {
		ways = append(ways, reading{original.method, *original.url, original.target})
		ways, clear = appendReadings(ways, *original)
	}
	if !clear || len(ways) == 0 {
		return !clear, nil
	}
	// in place: placeholders in a matcher read the request that Caddy began
	// with, which shares its URL with the one that tracing hands on
	as := func(f reading) { r.Method, *r.URL, r.RequestURI = f.method, f.url, f.target }
	asItIs := reading{r.Method, *r.URL, r.RequestURI}
	defer as(asItIs)
	for _, f := range ways {
		as(f)
		if match, err = p.match.AnyMatchWithError(r); err != nil || match {
			return match, err
		}
	}
	// once more, for what matchers leave in placeholders
	as(asItIs)
	return p.match.AnyMatchWithError(r)
}

// reading is one way to see a request, for a matcher.
type reading struct {
	method string
	url    url.URL
	target string
}

// appendReadings appends the other ways to read a request. It returns false if the
// request must not be public.
func appendReadings(ways []reading, r originalRequest) ([]reading, bool) {
	others, clear := readings.Of(r.url)
	for _, other := range others {
		ways = append(ways, reading{r.method, other, r.target})
	}
	return ways, clear
}
