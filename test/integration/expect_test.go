package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestExpectContinue: a client that asks first whether to send its body (RFC 9110
// section 10.1.1) is answered at once where the answer is the module's own. Where
// the request goes on, the application decides.
func TestExpectContinue(t *testing.T) {
	w := start(t, plain, nil)
	cookies := w.signedIn().cookies(w.Site)
	// an application that answers without reading may make net/http, between it and
	// the client, wait for the body that the client holds back
	w.app.answer(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	ask := func(request string) *answer {
		t.Helper()
		conn, err := net.Dial("tcp", fmt.Sprintf("localhost:%d", w.Port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request+" HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n"+rawNavigation); err != nil {
			t.Fatal(err)
		}
		if request == "POST /page" {
			_, err = io.WriteString(conn, "Cookie: "+cookies+"\r\n\r\n")
		} else {
			_, err = io.WriteString(conn, "\r\n")
		}
		if err != nil {
			t.Fatal(err)
		}
		a, err := readAnswer(bufio.NewReader(conn), "POST")
		if err != nil {
			t.Fatalf("%s: %v", request, err)
		}
		return a
	}
	for request, status := range map[string]int{
		"POST /other": http.StatusUnauthorized, "PUT /other": http.StatusUnauthorized, "GET /other": http.StatusSeeOther, "DELETE /other": http.StatusUnauthorized,
		"POST /truelayer": http.StatusMethodNotAllowed, "POST /truelayer/login": http.StatusMethodNotAllowed, "GET /truelayer/login": http.StatusSeeOther,
		"POST /truelayer/logout": http.StatusSeeOther, "GET /truelayer/session": http.StatusOK, "TRACE /other": http.StatusMethodNotAllowed,
	} {
		equal(t, request, ask(request).StatusCode, status)
	}
	equal(t, "with a session", ask("POST /page").StatusCode, http.StatusContinue)
}
