package truelayer

// What follows is for the tests that are outside of the package, since what
// they use imports it.
var (
	OpenStorage     = openStorage
	LoseStorageLock = loseStorageLock
)
