export const remains = async (): Promise<void> => {}
