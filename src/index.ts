/** What another Effect app imports: the server as layers and what it can be given, and the client. */
export * as Agent from "./client/Agent.ts"
export * as Leader from "./client/Leader.ts"
export { Rejected, type Standing } from "./client/Link.ts"
export * as NodeClient from "./client/NodeClient.ts"
export * as Policy from "./client/Policy.ts"
export {
  type Ended,
  type ExecOptions,
  type Handler,
  NoneSucceeded,
  type Order,
  type Outcome,
  RankClient
} from "./client/RankClient.ts"
export * as NodeServer from "./server/NodeServer.ts"
export { Peer, type PeerInfo } from "./server/Peer.ts"
export { RankServer } from "./server/Server.ts"
export { Settings, type SettingsValues } from "./server/Settings.ts"
