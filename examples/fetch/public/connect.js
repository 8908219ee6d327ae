async function fetchOrConnect(resource, options) {
  const answer = await fetch(resource, options);
  const type = answer.headers.get("Content-Type") ?? "";
  if (answer.status !== 401 || !type.startsWith("application/problem+json")) {
    return answer; // also a 401 of the application's own
  }
  const problem = await answer.clone().json();
  if (!problem.login_url) {
    return answer; // a problem of the application's own
  }
  const login = new URL(problem.login_url);
  login.searchParams.set("return", location.pathname + location.search);
  location.assign(login);
  return new Promise(() => {}); // the browser is leaving the page
}
