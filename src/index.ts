/** What another Effect app imports: the server as layers, and what it can be given. */
export * as NodeServer from "./server/NodeServer.ts"
export { Peer, type PeerInfo } from "./server/Peer.ts"
export { RankServer } from "./server/Server.ts"
export { Settings, type SettingsValues } from "./server/Settings.ts"
