package truelayer

import "testing"

// What follows is for the tests that are outside of the package, since what
// they use imports it.
var (
	OpenStorage     = openStorage
	LoseStorageLock = loseStorageLock
	FirstColumn     = firstColumn
)

func JSONFields[T any](t *testing.T) map[string]bool { return jsonFields[T](t) }
