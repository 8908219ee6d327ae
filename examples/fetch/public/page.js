// The address /?show asks for the data. The login comes back to this address, so that
// the visitor who had to connect a bank sees the data without another click.
const part = (id) => document.getElementById(id);

async function showPayslips() {
  part("ask").hidden = true;
  part("status").textContent = "Fetching your payslips…";
  const answer = await fetchOrConnect("/payslips");
  if (!answer.ok) {
    throw new Error(`the server answered ${answer.status}`);
  }
  const { bank, payslips } = await answer.json();
  part("bank").textContent = bank;
  for (const { month, pay } of payslips) {
    const row = document.querySelector("#payslips tbody").insertRow();
    row.insertCell().textContent = month;
    row.insertCell().textContent = pay;
  }
  part("status").textContent = "";
  part("payslips").hidden = false;
}

if (new URLSearchParams(location.search).has("show")) {
  showPayslips().catch((problem) => {
    part("status").textContent = `Your payslips cannot be shown now: ${problem.message}. Try again in a minute.`;
  });
}
