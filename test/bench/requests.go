package bench

import "strings"

// The headers are the ones of a browser that opens a page, and of a script in
// one.
const (
	browserHeader = "Host: localhost\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
		"Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
	navigationHeader = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
		"Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n"
	scriptHeader = "Accept: */*\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\n"
)

// Navigation is the request of a person who opens a page, with a Cookie field
// if cookie is not empty.
func Navigation(target, cookie string) string { return request(target, navigationHeader, cookie) }

// Script is the request of a script.
func Script(target, cookie string) string { return request(target, scriptHeader, cookie) }

func request(target, header, cookie string) string {
	var b strings.Builder
	b.WriteString("GET " + target + " HTTP/1.1\r\n" + browserHeader + header)
	if cookie != "" {
		b.WriteString("Cookie: " + cookie + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}
