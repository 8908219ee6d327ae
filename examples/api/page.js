// The script calls the Verification API through the proxy, which adds the token. The
// script itself never has one.
const part = (id) => document.getElementById(id);

// show offers the form with a bank connection, and a link to the login without one.
// What is in the form stays there.
function show(connected) {
  part("connect").hidden = connected;
  part("check").hidden = part("signout").hidden = !connected;
}

async function look() {
  const answer = await fetch("/truelayer/session");
  if (!answer.ok) {
    throw new Error(`the server answered ${answer.status}`);
  }
  show((await answer.json()).connected);
}

async function check(name) {
  const answer = await fetch("/bank/verification/v1/verify", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name }),
  });
  if (answer.status === 401) {
    show(false);
    throw new Error("the connection to your bank has ended, connect it again");
  }
  const result = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Error(result.detail || result.title || `the server answered ${answer.status}`);
  }
  return result;
}

function showResult(name, result) {
  part("verdict").textContent = result.verified ? `${name} holds the account.` : `${name} does not hold the account.`;
  part("accounts").replaceChildren(...result.report.map((account) => {
    const item = document.createElement("li");
    item.textContent = `${account.display_name}: ${outcome(account)}`;
    return item;
  }));
}

// outcome is the bank's word on one account.
function outcome(account) {
  if (!account.verifiable) {
    return account.failure_description || "cannot be verified";
  }
  const verified = (account.account_holders ?? []).some((holder) => holder.verified);
  return verified ? "verified" : "not verified";
}

function complain(problem) {
  part("verdict").textContent = `The name cannot be checked now: ${problem.message}.`;
}

part("check").addEventListener("submit", async (event) => {
  event.preventDefault();
  part("verdict").textContent = "Asking the bank…";
  part("accounts").replaceChildren();
  const name = part("name").value;
  try {
    showResult(name, await check(name));
  } catch (problem) {
    complain(problem);
  }
});

look().catch(complain);
