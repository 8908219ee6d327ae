// shows the banks that match, as one types; a search goes through all countries
const search = document.getElementById("q");
const country = document.querySelector("main").dataset.country;
const fold = (text) => text.toLowerCase().normalize("NFD").replace(/\p{Mn}/gu, "").trim().replace(/\s+/g, " ");
const filter = () => {
	const wanted = fold(search.value);
	let found = false;
	for (const section of document.querySelectorAll("section")) {
		const here = wanted !== "" || country === "" || country === section.dataset.country;
		let any = false;
		for (const bank of section.querySelectorAll("li")) {
			bank.hidden = !here || !bank.dataset.key.includes(wanted);
			any ||= !bank.hidden;
		}
		section.hidden = !any;
		found ||= any;
	}
	document.getElementById("none").hidden = found;
};
if (search) {
	search.addEventListener("input", filter);
	filter();
}
