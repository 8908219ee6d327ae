package truelayer

import (
	"cmp"
	"slices"
	"sync"
)

// liveBlocks are the blocks that serve requests. Caddy provisions the modules of its admin
// endpoint before it provisions handlers, and never cleans them up, so they find the
// handlers here.
//
// A block joins when it is provisioned and leaves at its Cleanup. During a reload both the
// old and the new block of a site are here.
var liveBlocks struct {
	mu     sync.Mutex
	joined int
	blocks map[*Handler]int // with the order in which they joined
}

func joinLiveBlocks(h *Handler) {
	liveBlocks.mu.Lock()
	defer liveBlocks.mu.Unlock()
	if liveBlocks.blocks == nil {
		liveBlocks.blocks = make(map[*Handler]int)
	}
	liveBlocks.joined++
	liveBlocks.blocks[h] = liveBlocks.joined
}

func leaveLiveBlocks(h *Handler) {
	liveBlocks.mu.Lock()
	defer liveBlocks.mu.Unlock()
	delete(liveBlocks.blocks, h)
}

// listLiveBlocks returns the blocks that serve requests, ordered by site, those of one
// site in the order in which they joined.
func listLiveBlocks() []*Handler {
	liveBlocks.mu.Lock()
	defer liveBlocks.mu.Unlock()
	blocks := make([]*Handler, 0, len(liveBlocks.blocks))
	for h := range liveBlocks.blocks {
		blocks = append(blocks, h)
	}
	slices.SortFunc(blocks, func(a, b *Handler) int {
		return cmp.Or(cmp.Compare(a.sessions.Site, b.sessions.Site), cmp.Compare(liveBlocks.blocks[a], liveBlocks.blocks[b]))
	})
	return blocks
}
