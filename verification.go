package truelayer

import (
	"strconv"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// verification is what is known of the name that a request comes with. It is nil if the
// block verifies no names, and its texts are "" then.
type verification struct {
	state vouch.State
	// claimed is the name that the visitor has given on our own page, or "".
	claimed string
}

func (v *verification) result() string {
	if v == nil {
		return ""
	}
	return v.state.Result.String()
}

func (v *verification) score() string {
	if v == nil || v.state.Score < 0 {
		return ""
	}
	return strconv.Itoa(v.state.Score)
}

// known returns what is known of the name; without verify_name nobody was asked.
func (v *verification) known() vouch.Result {
	if v == nil {
		return vouch.NotAsked
	}
	return v.state.Result
}

// at returns when the bank was asked, in the form of RFC 3339.
func (v *verification) at() string {
	if v == nil || !v.isWord() {
		return ""
	}
	return v.state.At.UTC().Format(time.RFC3339)
}

// name returns the name that the visitor has given on our own page.
func (v *verification) name() string {
	if v == nil {
		return ""
	}
	return v.claimed
}

// holder returns the name of the account's holder, if it is to be known.
func (v *verification) holder() string {
	if v == nil {
		return ""
	}
	return v.state.Holder
}

// isWord reports whether the bank was asked.
func (v *verification) isWord() bool {
	r := v.state.Result
	return r == vouch.Match || r == vouch.NoMatch || r == vouch.NotVerifiable
}
