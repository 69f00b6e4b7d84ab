// Says where it can be read why a passkey did not work: allauth's scripts only tell the console.

const SENTENCES = {
  NotAllowedError: "It was cancelled, took too long, or no passkey of this site was found.",
  InvalidStateError: "This key is registered with your account already.",
  SecurityError: "Passkeys work on https:// addresses and on localhost only.",
  NotSupportedError: "This device cannot make the kind of key that is asked for.",
};

document.addEventListener("allauth.error", (event) => {
  const error = event.detail.exception;
  const place = document.querySelector("[data-passkey-error]");
  if (!place) {
    return;
  }
  event.preventDefault();
  place.textContent = SENTENCES[error.name] ?? `The passkey did not work: ${error.message}`;
  place.hidden = false;
});
