/** The machine's monotonic clock in ms, the same one in every process. */
export const now = () => Number(process.hrtime.bigint()) / 1e6
