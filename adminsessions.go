package truelayer

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

const (
	// defaultListed and maxListed are how many sessions a page of the list has at least,
	// unless it is the last one.
	defaultListed, maxListed = 100, 1000
	// listTimeout bounds the reading of a page.
	listTimeout = 20 * time.Second
	// countTimeout bounds a count, and maxCounted how many sessions it tells apart.
	countTimeout = 10 * time.Second
	maxCounted   = 1_000_000
	// connectionField is the header field that selects a connection. Caddy's admin
	// endpoint logs addresses, and a connection's id is personal data.
	connectionField = "Truelayer-Connection"
)

// adminSession is a session as the admin endpoint shows it. The times are those of the
// record's header; the end of the consent is sealed.
type adminSession struct {
	ID       string    `json:"id"`
	Site     string    `json:"site"`
	ClientID string    `json:"client_id"`
	Provider string    `json:"provider"`
	Created  time.Time `json:"created"`
	LastSeen time.Time `json:"last_seen"`
	Expires  time.Time `json:"expires"`
}

// sessionPage is one answer with sessions. Next is "" on the last page.
type sessionPage struct {
	Sessions []adminSession `json:"sessions"`
	Next     string         `json:"next"`
}

// sessionFilter selects sessions. Its empty fields select all.
type sessionFilter struct {
	Site       string `json:"site,omitempty"`
	Provider   string `json:"provider,omitempty"`
	ClientID   string `json:"client_id,omitempty"`
	Connection string `json:"connection,omitempty"`
	// All has to be set if all other fields are empty.
	All bool `json:"all,omitempty"`
}

// ofSite is the filter within a site.
func (f *sessionFilter) ofSite() session.Filter {
	return session.Filter{ClientID: f.ClientID, Provider: f.Provider, Connection: f.Connection}
}

// lister returns the block's store as a Lister.
func (h *Handler) lister() (Lister, error) {
	if lister, ok := h.store.(Lister); ok {
		return lister, nil
	}
	return nil, caddy.APIError{HTTPStatus: http.StatusNotImplemented, Err: fmt.Errorf("the store %s of %s cannot list its sessions: name another site", h.storeType(), h.sessions.Site)}
}

// listCursor is where a list goes on.
type listCursor struct {
	Site  string `json:"site"`
	Store string `json:"store,omitempty"` // the store's own cursor
}

func readListCursor(text string) (c listCursor, err error) {
	if text == "" {
		return c, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return c, badRequest(errors.New("cursor is not the next of a page before"))
	}
	return c, nil
}

func (c listCursor) String() string {
	raw, _ := json.Marshal(c) // two strings
	return base64.RawURLEncoding.EncodeToString(raw)
}

// serveSessions lists sessions.
func serveSessions(w http.ResponseWriter, r *http.Request) error {
	query, err := readListQuery(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), listTimeout)
	defer cancel()
	answer := sessionPage{Sessions: []adminSession{}}
	err = eachPage(ctx, query.filter, query.cursor, query.limit, func(h *Handler, page []session.Listed, next string) (goOn bool) {
		for _, l := range page {
			answer.Sessions = append(answer.Sessions, adminSession{
				hex.EncodeToString([]byte(l.ID)), h.sessions.Site, l.ClientID, l.Provider, l.Created.UTC(), l.LastSeen.UTC(), l.Expires.UTC(),
			})
		}
		answer.Next = next
		return len(answer.Sessions) < query.limit
	})
	if err != nil {
		return err
	}
	return answerAdmin(w, answer)
}

// listQuery is what a request for a list asks for.
type listQuery struct {
	filter sessionFilter
	limit  int
	cursor listCursor
}

func readListQuery(r *http.Request) (q listQuery, err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, badRequest(fmt.Errorf("reading the query: %w", err))
	}
	for name := range values {
		if !slices.Contains([]string{"site", "provider", "client_id", "limit", "cursor"}, name) {
			return q, badRequest(fmt.Errorf("there is no parameter %q; a connection is sent in the field %s", name, connectionField))
		}
	}
	q.filter = sessionFilter{Site: values.Get("site"), Provider: values.Get("provider"), ClientID: values.Get("client_id"), Connection: r.Header.Get(connectionField)}
	if q.limit, err = strconv.Atoi(cmp.Or(values.Get("limit"), strconv.Itoa(defaultListed))); err != nil || q.limit < 1 || q.limit > maxListed {
		return q, badRequest(fmt.Errorf("limit %q is not a number from 1 to %d", values.Get("limit"), maxListed))
	}
	q.cursor, err = readListCursor(values.Get("cursor"))
	return q, err
}

func badRequest(err error) error { return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err} }

// eachPage calls do with each page of the sessions that a filter selects, and with the
// cursor that follows it, until do returns false. A session may be on two pages.
func eachPage(ctx context.Context, f sessionFilter, from listCursor, limit int, do func(h *Handler, page []session.Listed, next string) (goOn bool)) error {
	blocks, err := latestBlocks(f.Site)
	if err != nil {
		return err
	}
	for i, h := range blocks {
		if h.sessions.Site < from.Site {
			continue
		}
		cursor := ""
		if h.sessions.Site == from.Site {
			cursor = from.Store
		}
		lister, err := h.lister()
		if err != nil {
			return err
		}
		for goOn := true; goOn; {
			page, storeNext, err := h.sessions.List(ctx, lister, f.ofSite(), cursor, limit)
			if err != nil {
				return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: fmt.Errorf("listing the sessions of %s: %w", h.sessions.Site, err)}
			}
			next := ""
			switch {
			case storeNext != "":
				next = listCursor{h.sessions.Site, storeNext}.String()
			case i+1 < len(blocks):
				next = listCursor{Site: blocks[i+1].sessions.Site}.String()
			}
			if !do(h, page, next) {
				return nil
			}
			cursor, goOn = storeNext, storeNext != ""
		}
	}
	return nil
}

// adminCount is how many sessions a site has with a provider.
type adminCount struct {
	Site     string `json:"site"`
	Provider string `json:"provider"`
	Sessions int    `json:"sessions"`
}

// sessionCounts is the answer with numbers of sessions.
type sessionCounts struct {
	Counts   []adminCount `json:"counts"`
	Total    int          `json:"total"`
	Estimate bool         `json:"estimate"`
}

// serveSessionCount counts sessions by site and provider. A count that takes too long ends
// early, and says that it is an estimate: there are at least as many.
func serveSessionCount(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), countTimeout)
	defer cancel()
	answer := sessionCounts{Counts: []adminCount{}}
	counts, seen := make(map[adminCount]int), make(map[string]struct{})
	err := eachPage(ctx, sessionFilter{}, listCursor{}, maxListed, func(h *Handler, page []session.Listed, _ string) bool {
		for _, l := range page {
			if _, twice := seen[l.ID]; !twice {
				seen[l.ID] = struct{}{}
				counts[adminCount{Site: h.sessions.Site, Provider: l.Provider}]++
			}
		}
		answer.Estimate = len(seen) >= maxCounted
		return !answer.Estimate
	})
	if ctx.Err() != nil && r.Context().Err() == nil {
		err, answer.Estimate = nil, true
	}
	if err != nil {
		return err
	}
	for key, n := range counts {
		key.Sessions = n
		answer.Counts = append(answer.Counts, key)
	}
	slices.SortFunc(answer.Counts, func(a, b adminCount) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Provider, b.Provider))
	})
	answer.Total = len(seen)
	return answerAdmin(w, answer)
}
