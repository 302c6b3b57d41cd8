/** Messages of the server as a person sees them: in colour by what they mean, and harmless to the terminal. */
import type { ServerMessage } from "../../../protocol/Messages.ts"
import { textCodec } from "../../../protocol/text/TextCodec.ts"
import { blocked } from "../../members.ts"
import { printable, styled } from "../../terminal/text.ts"
import { exitStatusOf } from "../outcomes.ts"

/** Output as its executor wrote it: on lines of its own, if there are several. */
const withOutput = (head: string, output: string, truncated: boolean | undefined): string => {
  const lines = printable(output).replace(/\n$/, "").split("\n")
  if (truncated) lines.push("(truncated)")
  return lines.length === 1 ? `${head} ${lines[0]}`.trimEnd() : [head, ...lines.map((line) => `  ${line}`)].join("\n")
}

export const shown = (message: ServerMessage): string => {
  switch (message._tag) {
    case "Result": {
      const { output = "", truncated, ...result } = message
      const style = exitStatusOf(message) === 0 ? "green" : "red"
      return withOutput(styled(style, textCodec.encodeServer(result)), output, truncated)
    }
    case "Output":
      return withOutput(`OUTPUT#${message.id} ${message.rank}`, message.text, false)
    case "Done":
      return styled(message.notOk === 0 ? "green" : "red", textCodec.encodeServer(message))
    case "Error":
      return styled("red", printable(textCodec.encodeServer(message)))
    case "Exec":
      return styled("yellow", printable(textCodec.encodeServer(message)))
    case "Roster": {
      const why = blocked(message.members)
      const list = printable(textCodec.encodeServer(message))
      return why === undefined ? list : `${list}\n${styled("yellow", why)}`
    }
    case "Rank":
    case "Welcome":
    case "Joined":
    case "Left":
    case "Moved":
    case "Named":
      return styled("dim", textCodec.encodeServer(message))
    default:
      return printable(textCodec.encodeServer(message))
  }
}
