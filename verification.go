package truelayer

import (
	"strconv"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// verification is what is known of the name that a request comes with. It is nil if the
// block verifies no names.
type verification struct {
	state vouch.State
	// claimed is the name that the visitor has given on our own page, or "".
	claimed string
}

// result is what is known of the name; without verify_name nobody was asked.
func (v *verification) result() vouch.Result {
	if v == nil {
		return vouch.NotAsked
	}
	return v.state.Result
}

func (v *verification) score() string {
	if v.state.Score < 0 {
		return ""
	}
	return strconv.Itoa(v.state.Score)
}

// at returns when the bank was asked, in the form of RFC 3339, "" if it was not.
func (v *verification) at() string {
	if r := v.state.Result; r != vouch.Match && r != vouch.NoMatch && r != vouch.NotVerifiable {
		return ""
	}
	return v.state.At.UTC().Format(time.RFC3339)
}
