/** Which messages of the server answer the lines of a script. The others are news, which a script did not ask for. */
import type { ClientMessage, ServerMessage } from "../../protocol/Messages.ts"

export class Asked {
  #watches = false
  #name: string | undefined

  sent(message: ClientMessage): void {
    if (message._tag === "Watch") this.#watches = true
    if (message._tag === "Unwatch") this.#watches = false
    if (message._tag === "Name") this.#name = message.name
  }

  answeredBy(message: ServerMessage): boolean {
    switch (message._tag) {
      case "Welcome":
      case "Rank":
      case "Ping":
      case "Exec":
      case "Cancel":
      case "Bye":
        return false
      case "Joined":
      case "Left":
      case "Moved":
        return this.#watches
      case "Named":
        return this.#watches || message.name === this.#name
      default:
        return true
    }
  }
}
