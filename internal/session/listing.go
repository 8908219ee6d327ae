package session

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

// Lister is implemented by a Store that can list its records. Lister in the root package
// documents its contract.
type Lister interface {
	List(ctx context.Context, cursor string, limit int) (ids []string, next string, err error)
}

// Listed is what an operator can know of a session: what the clear header of its record
// says. Whoever can write to the store can change it.
type Listed struct {
	ID                         string // of the record
	ClientID, Provider         string
	Created, LastSeen, Expires time.Time

	site, connection Digest
}

// ShortID is like Session.ShortID.
func (l *Listed) ShortID() string { return ShortID(l.ID) }

// readListed returns what a record says of its session. Claims, reservations and
// tombstones are no sessions.
func readListed(id string, record []byte) (Listed, bool) {
	start, _, err := splitRecord(record, kindSession)
	if err != nil {
		return Listed{}, false
	}
	h, ok := readHeader(start[4:])
	return Listed{
		ID: id, ClientID: h.clientID, Provider: h.provider, Created: h.created, LastSeen: h.lastSeen, Expires: h.expires,
		site: h.site, connection: h.connection,
	}, ok
}

// Filter selects sessions. An empty field selects all.
type Filter struct {
	ClientID, Provider string
	Connection         string // the id of the connection
}

// matches reports whether a session of the manager's site is selected.
func (m *Manager) matches(f *Filter, l *Listed) bool {
	if f.Connection != "" {
		digest := m.Label.connectionDigest(f.Connection)
		if !bytes.Equal(digest[:], l.connection[:]) {
			return false
		}
	}
	return l.site == siteDigest(m.Site) && (f.ClientID == "" || f.ClientID == l.ClientID) && (f.Provider == "" || f.Provider == l.Provider)
}

// ErrCannotList is the error of List if the store cannot list its records.
var ErrCannotList = errors.New("the store cannot list its sessions")

// listReaders bounds the concurrent reads of a listing.
const listReaders = 8

// List returns the sessions of the manager's site that the filter selects, a page of the
// store at a time. The first call passes the cursor "", and each further call next, until
// that is "". A page may be empty. A session may be returned twice.
func (m *Manager) List(ctx context.Context, lister Lister, f Filter, cursor string, limit int) (sessions []Listed, next string, err error) {
	ids, next, err := lister.List(ctx, cursor, limit)
	if err != nil {
		return nil, "", storeError(err)
	}
	found := make([]Listed, len(ids))
	selected := make([]bool, len(ids))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(listReaders)
	for i, id := range ids {
		group.Go(func() error {
			return flight.Safely(func() error {
				record, err := m.Store.Get(groupCtx, id)
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				if err != nil {
					return err
				}
				l, ok := readListed(id, record)
				found[i], selected[i] = l, ok && m.matches(&f, &l) && m.Now().Before(l.Expires)
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, "", storeError(err)
	}
	for i := range found {
		if selected[i] {
			sessions = append(sessions, found[i])
		}
	}
	return sessions, next, nil
}

// maxRevokeAttempts is how many writes of others a revocation competes with. A session is
// written once in minutes.
const maxRevokeAttempts = 100

// Revoke ends the session whose record has an id, if it belongs to the manager's site and
// the filter selects it. It replaces the record by a tombstone, so that no refresh in
// progress brings the session back and the visitor can be told. It reports whether there
// was such a session. The connection at TrueLayer stays, since only the visitor's cookie
// opens the tokens.
func (m *Manager) Revoke(ctx context.Context, id string, f Filter) (Listed, bool, error) {
	for range maxRevokeAttempts {
		record, err := m.Store.Get(ctx, id)
		if errors.Is(err, fs.ErrNotExist) {
			return Listed{}, false, nil
		}
		if err != nil {
			return Listed{}, false, storeError(err)
		}
		l, ok := readListed(id, record)
		if !ok || !m.matches(&f, &l) {
			return Listed{}, false, nil
		}
		tombstone, expires, err := Tombstone(record, EndedByOperator)
		if err != nil {
			return Listed{}, false, storeError(err)
		}
		left := expires.Sub(m.Now())
		if left <= 0 {
			return Listed{}, false, nil
		}
		err = m.Store.Replace(ctx, id, record, tombstone, left)
		if errors.Is(err, ErrConflict) {
			continue // a touch or a refresh
		}
		if errors.Is(err, fs.ErrNotExist) {
			return Listed{}, false, nil
		}
		if err != nil {
			return Listed{}, false, storeError(err)
		}
		m.forget(id)
		return l, true, nil
	}
	return Listed{}, false, storeError(errors.New("revoking a session: its record changes all the time; try again"))
}
