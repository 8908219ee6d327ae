package banks

import (
	"container/list"
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

const (
	// logoFor is how long a logo is kept, and noLogoFor how long it is remembered that
	// there is none.
	logoFor   = 24 * time.Hour
	noLogoFor = 10 * time.Minute
	// turnTimeout is how long a download waits for its turn.
	turnTimeout = 10 * time.Second
	// maxLogos bounds the memory of all logos together. Each takes perLogo beside its
	// content.
	maxLogos = 8 << 20
	perLogo  = 512
)

// logo is a logo, or why there is none.
type logo struct {
	image
	err error

	id      string
	address string
	fetched time.Time
}

func (l *logo) size() int { return len(l.content) + len(l.address) + perLogo }

// Logos keeps the logos of a Keeper's banks. Visitors' browsers get them from the site,
// so that they contact nobody else.
type Logos struct {
	keeper  *Keeper
	fetch   func(ctx context.Context, address string) (image, error)
	close   func()
	flights *flight.Group

	mu   sync.Mutex
	byID map[string]*list.Element // of *logo
	ages *list.List               // the oldest first
	size int
}

// NewLogos returns the logos of a Keeper's banks. It makes no call.
func NewLogos(k *Keeper) *Logos {
	d := newDownloader(k.destinations)
	return &Logos{
		keeper: k, fetch: d.fetch, close: d.closeIdle, flights: flight.NewGroup(maxDownloads),
		byID: make(map[string]*list.Element), ages: list.New(),
	}
}

// Logo returns a bank's logo and its type: PNG, JPEG, WebP, GIF or SVG. The content
// belongs to Logos and must not be changed. How an SVG image has to be served is said
// at mediaTypeOf.
//
// The error is ErrNoList, ErrUnknownBank, ErrNoLogo, ErrBadLogo, flight.ErrBusy, the
// error of ctx, or one of the network.
func (l *Logos) Logo(ctx context.Context, id string) (content []byte, mediaType string, err error) {
	list, err := l.keeper.current(ctx)
	if err != nil {
		return nil, "", err
	}
	address, err := list.logo(id)
	if err != nil {
		return nil, "", err
	}
	kept, download := l.look(ctx, id, address)
	if download != nil {
		value, err := download.Await(ctx)
		if err != nil {
			return nil, "", err
		}
		kept = value.(*logo)
	}
	return kept.content, kept.mediaType, kept.err
}

// look returns what is kept of a bank's logo, or a download to wait for.
func (l *Logos) look(ctx context.Context, id, address string) (*logo, *flight.Flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if element, ok := l.byID[id]; ok {
		kept, keep := element.Value.(*logo), logoFor
		if kept.err != nil {
			keep = noLogoFor
		}
		if age := l.keeper.now().Sub(kept.fetched); kept.address == address && age >= 0 && age < keep {
			return kept, nil
		}
	}
	// begun under the lock, so that nobody who saw the old logo fetches the new one
	return nil, l.flights.Begin(ctx, id, turnTimeout, func(ctx context.Context) (any, error) {
		fetched, err := l.fetch(context.WithoutCancel(ctx), address) // which bounds its time
		if err != nil {
			l.keeper.logger.Load().Debug("a bank's logo could not be fetched", zap.String("provider", id), zap.Error(err))
		}
		kept := &logo{image: fetched, err: err, id: id, address: address, fetched: l.keeper.now()}
		l.keep(kept)
		return kept, nil
	})
}

// keep keeps a logo in the place of an earlier one, and forgets the oldest if there is
// no room.
func (l *Logos) keep(fetched *logo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if element, ok := l.byID[fetched.id]; ok {
		l.forget(element)
	}
	l.byID[fetched.id] = l.ages.PushBack(fetched)
	l.size += fetched.size()
	for l.size > maxLogos {
		l.forget(l.ages.Front())
	}
}

// forget forgets a logo. The caller holds l.mu.
func (l *Logos) forget(element *list.Element) {
	old := l.ages.Remove(element).(*logo)
	delete(l.byID, old.id)
	l.size -= old.size()
}

// CloseIdleConnections closes the connections that no download is using.
func (l *Logos) CloseIdleConnections() { l.close() }

// Wait waits until no download is under way, or until ctx ends.
func (l *Logos) Wait(ctx context.Context) { l.flights.Wait(ctx) }
