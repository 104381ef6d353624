// Lines of base64 on standard input -> lines of JSON: {"words": [...], "ids": [...]} of each text.
import { readFileSync } from "node:fs";
import { Tokenizer, filesInside } from "../../../export/edge/tokenizer.mjs";

const files = filesInside(readFileSync(process.argv[2]));
const tokenizer = new Tokenizer(files.get("tokenizer.txt"), files.get("vocabulary.txt"));
for (const line of readFileSync(0, "utf8").split("\n").slice(0, -1)) {
  const text = Buffer.from(line, "base64");
  console.log(JSON.stringify({ words: tokenizer.words(text), ids: [...tokenizer.encode(text)] }));
}
