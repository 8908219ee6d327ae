package browser

import "testing"

// networkFirst is the usual service worker of sites that work without a network.
const networkFirst = `
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => event.respondWith(fetch(event.request).catch(() => caches.match(event.request))));
`

// TestServiceWorker goes through a login on a site whose service worker asks for
// the pages: Chromium then calls their destination "empty".
func TestServiceWorker(t *testing.T) {
	s := startSite(t, map[string]string{
		"/worker.js": networkFirst,
		"/with":      `<h1>With a worker</h1><a href="/account">My account</a>`,
	})
	tab := startBrowser(t).tab()
	tab.open(s.url + "/with")
	tab.sees("With a worker")
	tab.script(`(async () => {
		await navigator.serviceWorker.register("/worker.js");
		await navigator.serviceWorker.ready;
		while (!navigator.serviceWorker.controller) await new Promise((done) => setTimeout(done, 10));
		return "";
	})()`)
	tab.click("My account")
	tab.connects()
	tab.sees("My account")
	equal(t, "the address", tab.address(), s.url+"/account")
	equal(t, "what the worker's request is for", tab.text("#destination"), "empty")
	tab.reload()
	tab.sees("My account")
	equal(t, "exchanges", s.exchanges(), 1)

	before := downloads.Load()
	tab.click("Download")
	tab.until("the file is asked for", func() bool { return downloads.Load() > before })
}
