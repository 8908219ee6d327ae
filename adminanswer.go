package truelayer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

// maxAdminBody is the largest body of a request to the admin endpoint.
const maxAdminBody = 64 << 10

// readAdminBody decodes the body of a request to the admin endpoint, a JSON object
// without unknown members. An empty body leaves the request as it is. A page that an
// operator visits cannot send JSON to another origin without being asked first.
func readAdminBody(w http.ResponseWriter, r *http.Request, request any) error {
	bad := func(status int, err error) error { return caddy.APIError{HTTPStatus: status, Err: err} }
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
		return bad(http.StatusUnsupportedMediaType, errors.New("send the body as Content-Type: application/json"))
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(request)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil && decoder.More() {
		err = errors.New("there is something behind the object")
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return bad(http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes", maxAdminBody))
	}
	if err != nil {
		return bad(http.StatusBadRequest, fmt.Errorf("reading the body: %w", err))
	}
	return nil
}

// answerAdmin writes an answer of the admin endpoint.
func answerAdmin(w http.ResponseWriter, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // if it fails, the caller is gone
	return nil
}

// latestBlocks returns the blocks of a site that serve requests, or those of all sites
// if site is "". Of the two that a site has during a reload it returns the new one.
func latestBlocks(site string) ([]*Handler, error) {
	var latest []*Handler
	for _, h := range listLiveBlocks() {
		switch {
		case site != "" && site != h.sessions.Site:
		case len(latest) > 0 && latest[len(latest)-1].sessions.Site == h.sessions.Site:
			latest[len(latest)-1] = h
		default:
			latest = append(latest, h)
		}
	}
	if site != "" && len(latest) == 0 {
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("there is no truelayer block for the site %q: a site is the host and the path of its redirect_uri", site)}
	}
	return latest, nil
}
