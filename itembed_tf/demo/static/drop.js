// An image to search by: dropped anywhere on the page, pasted, or chosen as a file.

/**
 * @param {HTMLElement} overlay shown while an image is dragged over the page
 * @param {HTMLInputElement} choose the file input
 * @param {(file: Blob) => void} given called with the image
 */
export function takeImages(overlay, choose, given) {
  let depth = 0; // dragenter and dragleave come for every element on the way
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const show = (on) => overlay.classList.toggle("shown", on);
  addEventListener("dragenter", (event) => {
    if (carries(event)) show(++depth > 0);
  });
  addEventListener("dragleave", (event) => {
    if (carries(event)) show(--depth > 0);
  });
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    if (event.dataTransfer.files.length) given(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const image = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
    if (!image) return; // text is pasted into the field
    event.preventDefault();
    given(image);
  });
  choose.addEventListener("change", () => {
    if (choose.files.length) given(choose.files[0]);
    choose.value = ""; // so that the same file can be chosen again
  });
}
