// shows the banks that match, as one types
const search = document.getElementById("q");
const banks = [...document.querySelectorAll(".banks li")];
const sections = [...document.querySelectorAll("section")];
const filter = () => {
	const wanted = search.value.trim().toLowerCase();
	for (const bank of banks) {
		bank.hidden = !bank.textContent.toLowerCase().includes(wanted);
	}
	for (const section of sections) {
		section.hidden = !section.querySelector("li:not([hidden])");
	}
	document.getElementById("none").hidden = banks.length === 0 || banks.some((bank) => !bank.hidden);
};
search.addEventListener("input", filter);
