package truelayer

import (
	"errors"
	"net/http"
)

// serveDoctor checks the set-up of the blocks that serve requests.
func serveDoctor(http.ResponseWriter, *http.Request) error { return errors.New("not yet") }

// serveAuthLinks makes the auth links that visitors would be sent to.
func serveAuthLinks(http.ResponseWriter, *http.Request) error { return errors.New("not yet") }
